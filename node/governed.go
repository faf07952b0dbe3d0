package node

import (
	"io"

	"kith/storage/eventlog"
	"kith/storage/governor"
)

// governedFiles is the folder of an event log on a drive with limits. What a log writes must not wait, so it is counted
// and others pay for it; its syncs keep their distance.
type governedFiles struct {
	eventlog.Files
	disk *governor.Device
}

// Open implements eventlog.Files.
func (g governedFiles) Open(name string) (io.ReadCloser, error) {
	f, err := g.Files.Open(name)
	if err != nil {
		g.disk.Failed("open a log", err)
		return nil, err
	}
	return governedReader{f, g.disk}, nil
}

// Append implements eventlog.Files.
func (g governedFiles) Append(name string) (eventlog.File, error) {
	f, err := g.Files.Append(name)
	if err != nil {
		g.disk.Failed("open a log", err)
		return nil, err
	}
	return governedFile{f, g.disk}, nil
}

type governedReader struct {
	io.ReadCloser
	disk *governor.Device
}

func (g governedReader) Read(p []byte) (int, error) {
	n, err := g.ReadCloser.Read(p)
	g.disk.DidRead(n)
	g.disk.Failed("read a log", err)
	return n, err
}

type governedFile struct {
	eventlog.File
	disk *governor.Device
}

func (g governedFile) Write(p []byte) (int, error) {
	n, err := g.File.Write(p)
	g.disk.Wrote(n)
	g.disk.Failed("write a log", err)
	return n, err
}

func (g governedFile) Sync() error { return g.disk.Sync(g.File.Sync) }
