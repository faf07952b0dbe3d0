package disk

// Of returns the drive that holds a file or folder, which need not exist. It does not touch the drive.
func Of(at string) (Drive, error) { return Linux{Root: "/"}.Of(at) }
