// Package governor decides how hard a drive may be used and holds every reader and writer to it. What is known about a
// drive gives it a Grade (Rate), a published table gives the grade its Limits (Table, For), and what happens to the drive
// lowers them, with a cause, until it has been quiet for a while (Decide). These three take values and return values. A
// Device then makes readers and writers wait; whoever reads or writes declares the small port it needs, and a Device fits.
package governor

import (
	"fmt"
	"math"
	"time"
)

// Grade says how much a drive can be trusted with.
type Grade string

// The grades, best first.
const (
	Fast     Grade = "fast"     // NVMe and the like
	Good     Grade = "good"     // a sound solid-state drive
	Plain    Grade = "plain"    // a sound hard disk, or a solid-state drive that is no faster
	Ungraded Grade = "ungraded" // nobody has measured it
	Fragile  Grade = "fragile"  // slow, external, worn, or of a make that is known to suffer: read rather than write
	Failing  Grade = "failing"  // it says itself that it fails: read what is there, write as little as can be
)

// Limits is how hard a drive may be used. Zero means no limit, but for Jobs.
type Limits struct {
	ReadBytes  int64         `json:"readBytes"`  // a second
	WriteBytes int64         `json:"writeBytes"` // a second
	ReadOps    int           `json:"readOps"`    // a second
	WriteOps   int           `json:"writeOps"`   // a second
	Queue      int           `json:"queue"`      // requests at once
	Files      int           `json:"files"`      // files of tasks open at once
	Burst      int64         `json:"burst"`      // bytes that may be written at once after a pause
	SyncEvery  time.Duration `json:"syncEvery"`  // between two syncs at least, in nanoseconds; what comes meanwhile shares the next one
	Jobs       int           `json:"jobs"`       // tasks at once whose files lie here; 0: none
}

// Row is one line of the published table.
type Row struct {
	Grade  Grade   `json:"grade"`
	Limits Limits  `json:"limits"` // ceilings
	Read   float64 `json:"read"`   // share of the measured reading speed that may be used
	Write  float64 `json:"write"`  // share of the measured writing speed
	Words  string  `json:"words"`
}

const mib = 1 << 20

// table is how a grade becomes limits. A share of what was measured leaves the owner's own programs some of the drive.
var table = []Row{
	{Fast, Limits{4000 * mib, 2000 * mib, 200_000, 100_000, 32, 256, 512 * mib, 0, 64}, 0.9, 0.8, "NVMe and the like"},
	{Good, Limits{1000 * mib, 500 * mib, 50_000, 30_000, 16, 128, 256 * mib, 0, 16}, 0.8, 0.7, "a sound solid-state drive"},
	{Plain, Limits{200 * mib, 120 * mib, 2_000, 1_000, 4, 32, 64 * mib, 5 * time.Millisecond, 4}, 0.7, 0.6, "a sound hard disk, or as fast as one"},
	{Ungraded, Limits{1000 * mib, 500 * mib, 50_000, 30_000, 16, 128, 256 * mib, 0, 16}, 1, 1, "not measured yet"},
	{Fragile, Limits{60 * mib, 20 * mib, 200, 100, 2, 8, 16 * mib, 50 * time.Millisecond, 1}, 0.5, 0.3, "external, slow, worn or of a fragile make: reads rather than writes"},
	{Failing, Limits{20 * mib, 4 * mib, 100, 20, 1, 4, 4 * mib, 200 * time.Millisecond, 0}, 0.3, 0.1, "failing by its own word: no new work"},
}

// Table returns the published table, best grade first.
func Table() []Row { return append([]Row(nil), table...) }

func rowOf(g Grade) Row {
	for _, r := range table {
		if r.Grade == g {
			return r
		}
	}
	return rowOf(Ungraded)
}

// Drive is what a grade is made of. A speed of zero, or one that is no number, was not measured.
type Drive struct {
	Solid      bool    // no spinning parts, as far as anybody knows
	NVMe       bool    //
	External   bool    // hangs on a plug that people pull: USB, FireWire, a memory card
	Network    bool    // somebody else's drive
	ReadBytes  float64 // sequential, a second
	WriteBytes float64
	ReadOps    float64 // random 4 KiB, a second, at the best queue depth
	WriteOps   float64
	SyncMillis float64 // a sync of 4 KiB, the slowest of a hundred left out
	Cliff      float64 // share of the writing speed that is left after the drive's cache is full; 0: not measured
	Hot        string  // it slows itself down because it is hot: how that is known
	Worn       string  // it warns about its own state: its words
	Fragile    string  // its make is known to suffer: the source's words
	Failing    string  // it says that it fails: its words
}

// Speeds that separate the grades, in MiB/s and requests a second.
const (
	fastRead, fastWrite, fastOps = 900, 400, 20_000
	goodRead, goodWrite, goodOps = 200, 100, 3_000
	slowRead, slowWrite          = 40, 20
	slowSyncMillis               = 250
	steepCliff                   = 0.25
)

func known(x float64) bool { return x > 0 && !math.IsInf(x, 0) && !math.IsNaN(x) }

// Rate grades a drive and says why, most important reason first.
func Rate(d Drive) (Grade, []string) {
	if d.Failing != "" {
		return Failing, []string{d.Failing}
	}
	var why []string
	fragile := func(holds bool, format string, args ...any) {
		if holds {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	fragile(d.Worn != "", "%s", d.Worn)
	fragile(d.Fragile != "", "%s", d.Fragile)
	fragile(d.External && !d.Solid, "an external hard disk")
	fragile(known(d.ReadBytes) && d.ReadBytes < slowRead*mib, "reads only %.1f MiB/s", d.ReadBytes/mib)
	fragile(known(d.WriteBytes) && d.WriteBytes < slowWrite*mib, "writes only %.1f MiB/s", d.WriteBytes/mib)
	fragile(known(d.SyncMillis) && d.SyncMillis > slowSyncMillis, "a sync takes %.0f ms", d.SyncMillis)
	fragile(d.Hot != "", "%s", d.Hot)
	fragile(known(d.Cliff) && d.Cliff < steepCliff, "writes fall to %.0f %% of their speed once its cache is full", 100*d.Cliff)
	if len(why) > 0 {
		return Fragile, why
	}
	if !known(d.ReadBytes) || !known(d.WriteBytes) {
		return Ungraded, []string{"its speed is not measured yet"}
	}
	speed := fmt.Sprintf("reads %.0f MiB/s, writes %.0f MiB/s", d.ReadBytes/mib, d.WriteBytes/mib)
	if known(d.ReadOps) {
		speed += fmt.Sprintf(", %.0f random reads a second", d.ReadOps)
	}
	enough := func(read, write, ops float64) bool {
		return d.ReadBytes >= read*mib && d.WriteBytes >= write*mib && (!known(d.ReadOps) || d.ReadOps >= ops)
	}
	switch {
	case enough(fastRead, fastWrite, fastOps) && !d.External && !d.Network:
		return Fast, []string{speed}
	case enough(goodRead, goodWrite, goodOps):
		return Good, []string{speed}
	}
	return Plain, []string{speed}
}

// For returns the limits of a drive of that grade: the row's ceilings, or the row's share of what was measured where that
// is less.
func For(g Grade, d Drive) Limits {
	r := rowOf(g)
	l := r.Limits
	l.ReadBytes = share(l.ReadBytes, d.ReadBytes, r.Read)
	l.WriteBytes = share(l.WriteBytes, d.WriteBytes, r.Write)
	if known(d.Cliff) && known(d.WriteBytes) && d.Cliff < 1 {
		l.WriteBytes = share(l.WriteBytes, d.WriteBytes*d.Cliff, r.Write) // what it can keep up
	}
	l.ReadOps = int(share(int64(l.ReadOps), d.ReadOps, r.Read))
	l.WriteOps = int(share(int64(l.WriteOps), d.WriteOps, r.Write))
	l.Burst = min(l.Burst, max(4*l.WriteBytes, minBytes))
	return l.floored()
}

func share(ceiling int64, measured, part float64) int64 {
	if !known(measured) || measured*part >= float64(ceiling) {
		return ceiling
	}
	return int64(measured * part)
}

// What a drive always gets, so that the node's own logs never stand still.
const (
	minBytes = mib
	minOps   = 10
	// Several logs take turns at one drive, and people wait for some of their records.
	mostSyncs = 200 * time.Millisecond
)

func (l Limits) floored() Limits {
	l.ReadBytes, l.WriteBytes, l.Burst = max(l.ReadBytes, minBytes), max(l.WriteBytes, minBytes), max(l.Burst, minBytes)
	l.ReadOps, l.WriteOps = max(l.ReadOps, minOps), max(l.WriteOps, minOps)
	l.Queue, l.Files = max(l.Queue, 1), max(l.Files, 1)
	return l
}

// lowered halves l once for each level. Syncs go apart as the rest shrinks.
func (l Limits) lowered(level int) Limits {
	if level <= 0 {
		return l
	}
	l.ReadBytes, l.WriteBytes, l.Burst = l.ReadBytes>>level, l.WriteBytes>>level, l.Burst>>level
	l.ReadOps, l.WriteOps = l.ReadOps>>level, l.WriteOps>>level
	l.Queue, l.Files = l.Queue>>level, l.Files>>level
	if l.Jobs > 0 {
		l.Jobs = max(l.Jobs>>level, 1)
	}
	l.SyncEvery = min(max(l.SyncEvery, time.Millisecond)<<level, mostSyncs)
	return l.floored()
}
