package identity

import "io/fs"

// private accepts every file: on Windows the user's own folders carry an access list that keeps others out, which a
// file mode does not show.
func private(string, fs.FileInfo) error { return nil }
