package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"kith/node/atomicfile"
)

// ratesFile is where the data folder holds what tasks took.
const ratesFile = "rates"

// mostKept bounds what is read of a kept file.
const mostKept = 1 << 20

// keptFile is a small file that is replaced whole. It implements submit.Memory.
type keptFile string

func (f keptFile) Load() ([]byte, error) {
	info, err := os.Stat(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > mostKept) {
		err = fmt.Errorf("%s is no plain file of at most %d bytes", f, mostKept)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(string(f))
}

func (f keptFile) Save(data []byte) error { return atomicfile.Write(string(f), data, 0o600) }
