package node

import (
	"errors"
	"fmt"
	"io/fs"

	"kith/node/config"
	"kith/node/identity"
	"kith/node/lock"
	"kith/p2p"
	"kith/p2p/host"
	"kith/tasks"
)

// Init makes the data folder and the identity of a node, if they are not there, and checks the settings. fresh tells
// whether the identity is new.
func Init(home string) (id tasks.NodeID, fresh bool, err error) {
	if err := makeHome(home); err != nil {
		return id, false, err
	}
	held, err := lock.Take(home)
	if err != nil {
		return id, false, err
	}
	defer held.Close()
	if _, err := config.Open(home); err != nil {
		return id, false, err
	}
	self, fresh, err := identity.Open(home)
	if err != nil {
		return id, false, err
	}
	return self.Node(), fresh, nil
}

// ReadID reads who the node of a data folder is, also as libp2p writes it.
func ReadID(home string) (id tasks.NodeID, peer string, err error) {
	self, err := identity.Load(home)
	if errors.Is(err, fs.ErrNotExist) {
		return id, "", fmt.Errorf("there is no node in %s; kith init makes one: %w", home, fs.ErrNotExist)
	}
	if err != nil {
		return id, "", err
	}
	return self.Node(), host.PeerText(p2p.ID(self.Node())), nil
}

// LogQuota is how many bytes the files of the node's own log may have together: half of storage.logs, the rest of which is
// for what the node must not forget. 0, no limit, if the settings cannot be read.
func LogQuota(home string) int64 {
	s, err := config.Open(home)
	if err != nil {
		return 0
	}
	return int64(s.Get().Storage.Logs) / 2
}

// BootstrapSetting reads the addresses a data folder's settings name, none if they cannot be read.
func BootstrapSetting(home string) []string {
	s, err := config.Open(home)
	if err != nil {
		return nil
	}
	return s.Get().Peers.Bootstrap
}
