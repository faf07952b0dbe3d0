package sandboxtest

import (
	"errors"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"kith/tasks"
)

// direct reads or writes a file of 1 MiB again and again, past the system's cache.
func direct(c *tasks.Call, way string) error {
	const block, blocks = 16 << 10, 64
	room := make([]byte, 2*block)
	at := (block - int(uintptr(unsafe.Pointer(&room[0]))%block)) % block
	buf := room[at : at+block]
	f, err := os.OpenFile(filepath.Join(c.Scratch, "direct"), os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for round := 0; ; round++ {
		for i := range int64(blocks) {
			if round > 0 && way == "read" {
				_, err = f.ReadAt(buf, i*block)
			} else {
				_, err = f.WriteAt(buf, i*block)
			}
			if err != nil {
				return errors.Join(errors.New("direct "+way), err)
			}
		}
	}
}
