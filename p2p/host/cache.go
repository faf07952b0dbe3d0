package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kith/p2p"
	"kith/p2p/internal/lp"
)

// Limits of the peer files.
const (
	maxPeerFile   = 1 << 20 // bytes read of a cache or list
	maxCachePeers = 64
	cacheLife     = 30 * 24 * time.Hour // a peer not met for so long is forgotten
	cacheVersion  = 1
)

// errCache: the cache file is not one.
var errCache = errors.New("peer cache is unreadable")

// cachedPeer is one peer met earlier.
type cachedPeer struct {
	ID    p2p.ID   `json:"id"`
	Addrs []string `json:"addrs"`
	Seen  int64    `json:"seen"` // Unix milliseconds
}

type cacheFile struct {
	Version int          `json:"version"`
	Network string       `json:"network"`
	Peers   []cachedPeer `json:"peers"`
}

// readCache returns the peers of the cache, newest first; none when the file does not exist. Peers with unreadable or
// foreign addresses, and those not met for cacheLife, are left out.
func readCache(path, network string, now time.Time) ([]cachedPeer, error) {
	b, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseCache(b, network, now)
}

func parseCache(b []byte, network string, now time.Time) ([]cachedPeer, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var f cacheFile
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: %w", errCache, err)
	}
	if f.Version != cacheVersion || f.Network != network {
		return nil, fmt.Errorf("%w: version %d of network %.40q", errCache, f.Version, f.Network)
	}
	var out []cachedPeer
	for _, p := range f.Peers {
		infos, err := lp.AddrInfos(p.Addrs)
		if err != nil || len(infos) != 1 || infos[0].ID != lp.Peer(p.ID) || len(p.Addrs) > p2p.MaxAddrs {
			continue
		}
		if age := now.Sub(time.UnixMilli(p.Seen)); age < cacheLife && len(out) < maxCachePeers {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b cachedPeer) int { return int(b.Seen/1000 - a.Seen/1000) })
	return out, nil
}

// writeCache replaces the cache in one step: a crash leaves the old or the new file.
func writeCache(path, network string, peers []cachedPeer) error {
	b, err := json.MarshalIndent(cacheFile{Version: cacheVersion, Network: network, Peers: peers}, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write peer cache: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write peer cache: %w", err), os.Remove(f.Name()))
	}
	return nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPeerFile+1))
	if err == nil && len(b) > maxPeerFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxPeerFile)
	}
	return b, err
}

// ReadPeerList reads a list of dialable addresses, one a line; empty lines and what follows a # are skipped. A line that
// is no address fails the whole list, so that a typing error is seen.
func ReadPeerList(path string) ([]string, error) {
	b, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("bootstrap list: %w", err)
	}
	var out []string
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if _, err := lp.AddrInfo(line); err != nil {
			return nil, fmt.Errorf("bootstrap list %s, line %d: %w", path, n, err)
		}
		out = append(out, line)
	}
	return out, nil
}
