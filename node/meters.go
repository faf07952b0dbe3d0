package node

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"kith/node/api"
	"kith/node/meter"
	"kith/node/owner"
	"kith/storage/quota"
)

const (
	meterEvery  = 2 * time.Second
	folderEvery = time.Minute // walking the data folder costs more than the rest
)

// meters samples what the node uses, so that showing it costs nothing.
type meters struct {
	home string
	// traffic returns the network bytes since the start; set once the network is open.
	mu      sync.Mutex
	traffic func() (in, out int64)
	now     api.Meters
	disk    owner.Disk
	kinds   map[quota.Kind]int64
	taken   time.Time
	use     meter.Use
	folder  time.Time
}

func newMeters(home string) *meters {
	m := &meters{home: home, disk: meterDisk(home), taken: time.Now(), use: meter.Now()}
	m.now.Cores, m.now.MemoryBytes, m.now.MemoryTotal = runtime.NumCPU(), m.use.Memory, meter.Memory()
	m.now.DiskFreeBytes, m.now.DiskTotalBytes = m.disk.Free, m.disk.Total
	return m
}

// Serve samples until ctx ends.
func (m *meters) Serve(ctx context.Context) error {
	tick := time.NewTicker(meterEvery)
	defer tick.Stop()
	for {
		m.sample()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (m *meters) sample() {
	m.mu.Lock()
	walk := time.Since(m.folder) >= folderEvery
	traffic := m.traffic
	m.mu.Unlock()
	var used int64
	var kinds map[quota.Kind]int64
	if walk {
		kinds = usedByKind(m.home)
		for _, n := range kinds {
			used += n
		}
	}
	use, disk := meter.Now(), meterDisk(m.home)
	var in, out int64
	if traffic != nil {
		in, out = traffic()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if walk {
		m.now.DiskUsedBytes, m.kinds, m.folder = used, kinds, time.Now()
	}
	if gone := time.Since(m.taken); gone >= meterEvery/2 {
		m.now.CPUPercent = float64(int64(1000*(use.CPU-m.use.CPU).Seconds()/gone.Seconds())) / 10
		m.now.InPerSecond = int64(float64(in-m.now.InTotal) / gone.Seconds())
		m.now.OutPerSecond = int64(float64(out-m.now.OutTotal) / gone.Seconds())
		m.taken, m.use = time.Now(), use
		m.now.InTotal, m.now.OutTotal = in, out
	}
	m.disk = disk
	m.disk.Own = m.now.DiskUsedBytes
	m.now.MemoryBytes, m.now.DiskFreeBytes, m.now.DiskTotalBytes = use.Memory, disk.Free, disk.Total
}

// walk adds up the data folder now, and returns its bytes.
func (m *meters) walk() int64 {
	m.mu.Lock()
	m.folder = time.Time{}
	m.mu.Unlock()
	m.sample()
	return m.read().DiskUsedBytes
}

// space is the disk of the data folder, not older than a sample.
func (m *meters) space() owner.Disk {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.disk
}

// byKind is what the data folder holds by kind, not older than a minute.
func (m *meters) byKind() map[quota.Kind]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kinds
}

// usedByKind adds up a data folder by kind of data.
func usedByKind(home string) map[quota.Kind]int64 {
	out := map[quota.Kind]int64{}
	entries, _ := os.ReadDir(home)
	for _, e := range entries {
		out[quota.Of(e.Name())] += meter.FolderSize(filepath.Join(home, e.Name()))
	}
	return out
}

// read returns the last sample.
func (m *meters) read() api.Meters {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// watchTraffic sets where network bytes are counted.
func (m *meters) watchTraffic(f func() (in, out int64)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.traffic = f
}
