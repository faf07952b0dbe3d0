package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// check looks at the manifest and at the index of every table before Badger does, which would start from nothing where
// the manifest is missing and end the process where an index is damaged. Memtables and value logs of no length, which a
// power cut may leave and Badger refuses, it removes.
func check(o badger.Options) error {
	if err := removeEmpty(o.Dir); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		for _, pattern := range []string{"*.sst", "*.vlog"} {
			if names, _ := filepath.Glob(filepath.Join(o.Dir, pattern)); len(names) > 0 {
				return fmt.Errorf("there is %s but no %s", filepath.Base(names[0]), badger.ManifestFilename)
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err != nil {
		return fmt.Errorf("%s: %w", badger.ManifestFilename, err)
	}
	for id := range manifest.Tables {
		if err := checkTable(table.NewFilename(id, o.Dir)); err != nil {
			return fmt.Errorf("%s: %w", table.IDToFilename(id), err)
		}
	}
	return nil
}

func removeEmpty(dir string) error {
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err == nil && info.Size() == 0 {
				err = os.Remove(name)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTable verifies a table's index. A table ends with: index, its length, its checksum, the checksum's length.
func checkTable(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	back := func(n int64) ([]byte, error) { // the n bytes before end
		if n > end {
			return nil, fmt.Errorf("cut off or damaged at byte %d of %d", end, info.Size())
		}
		end -= n
		b := make([]byte, n)
		_, err := f.ReadAt(b, end)
		return b, err
	}
	field := func() ([]byte, error) {
		length, err := back(4)
		if err != nil {
			return nil, err
		}
		return back(int64(binary.BigEndian.Uint32(length)))
	}
	sum, err := field()
	if err != nil {
		return err
	}
	var want pb.Checksum
	if err := proto.Unmarshal(sum, &want); err != nil {
		return fmt.Errorf("index checksum: %w", err)
	}
	if !slices.Contains([]pb.Checksum_Algorithm{pb.Checksum_CRC32C, pb.Checksum_XXHash64}, want.Algo) {
		return fmt.Errorf("index checksum of unknown kind %d", want.Algo)
	}
	index, err := field()
	if err != nil {
		return err
	}
	return y.VerifyChecksum(index, &want)
}
