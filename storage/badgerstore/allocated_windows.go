package badgerstore

import "io/fs"

// allocated is what a file takes.
func allocated(info fs.FileInfo) int64 { return info.Size() }
