package config

import (
	"fmt"
	"reflect"
	"strconv"
)

// Machine is what there is to give. Zero fields are unknown and bound nothing.
type Machine struct {
	Cores  int
	Memory int64 // bytes
	Disk   int64 // bytes, of the data folder's disk, used or not
	VRAM   int64 // bytes, of all cards together
}

// Bound has Set refuse what is more than the machine has. What stands in the file already is left alone: the disk may have
// come from another computer, and whoever uses the settings takes the lesser of both.
func (s *Store) Bound(m Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine = m
}

// most is what the machine has of what bounds a setting, 0 if unknown.
func (m Machine) most(f field) (int64, string) {
	switch f.machine {
	case "cores":
		return int64(m.Cores), "processors"
	case "memory":
		return m.Memory, "of memory"
	case "disk":
		return m.Disk, "of disk"
	case "vram":
		return m.VRAM, "of graphics memory"
	}
	return 0, ""
}

// bound checks the value of one setting.
func (m Machine) bound(c Config, key string) error {
	f, err := lookup(key)
	if err != nil {
		return err
	}
	at := reflect.ValueOf(c).FieldByIndex(f.index)
	most, of := m.most(f)
	if most <= 0 || at.IsZero() || at.Int() <= most {
		return nil
	}
	value, has, from := text(at), Size(most).String(), f.min.String()
	if at.Kind() == reflect.Int {
		has, from = strconv.FormatInt(most, 10), strconv.FormatInt(int64(f.min), 10)
	} else if mib := most >> 20; mib > 0 {
		has = fmt.Sprintf("%dMiB", mib)
	}
	return &Error{key, value, "is more than this computer has", fmt.Sprintf("allowed: %s to %s, for it has %s %s", from, has, has, of)}
}
