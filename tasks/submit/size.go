package submit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
)

// How the size of tasks follows from what they should take. A job whose spec names no part size gets one from what tasks
// of the same ops took before; until enough is known tasks.DefaultPartBytes stands. The result is
// the same however the input is split.
const (
	usualAim     = 15 * time.Second // what a task should take, unless the spec says otherwise
	longestAim   = 6 * time.Hour
	leastPart    = 256 << 10 // below it, handing a task over costs more than doing it
	mostPart     = 64 << 20
	partsPerSlot = 2  // at least, so that the last tasks do not keep most workers waiting
	fewestSlots  = 16 // assumed while fewer are connected
	certainRates = 8  // tasks that must have been done before their rate is believed
	keptRates    = 64
	maxRated     = 256 // kinds of work whose rates are remembered
)

// rates is how fast tasks of the same ops were done, bytes of input a second, the newest last.
type rates []int64

// workKey names what the tasks of a job do.
func workKey(ops []tasks.Op) (key [32]byte) {
	h := sha256.New()
	for i := range ops {
		for _, part := range [][]byte{[]byte(ops[i].Kind), ops[i].Params} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write(part)
		}
	}
	h.Sum(key[:0])
	return key
}

// took notes how long an accepted result of a job's first stage was computed.
func (d *Driver) took(j *running, ref job.Ref, wallMillis int64) {
	if ref.Stage != 0 || j.partBytes == 0 || wallMillis <= 0 {
		return
	}
	key := workKey(j.state.Job().Spec.Ops)
	list, known := d.rates[key]
	if !known && len(d.rates) >= maxRated {
		for other := range d.rates {
			delete(d.rates, other)
			break
		}
	}
	if len(list) == keptRates {
		list = append(list[:0], list[1:]...)
	}
	d.rates[key] = append(list, max(1, j.partBytes*1000/wallMillis))
	if d.o.Rates != nil && d.ratesAt == 0 {
		d.ratesAt = time.Now().UnixMilli() + ratesGap.Milliseconds()
		d.due(d.ratesAt)
	}
}

// size chooses the part size of a spec that names none, before it is accepted. A job that is there already keeps its own:
// its owner may ask for it again.
func (d *Driver) size(ctx context.Context, s *tasks.Spec) error {
	if s.PartBytes != 0 || !s.Input.Defined() {
		return nil
	}
	type look struct {
		part, rate int64
		slots      int
	}
	found, err := ask(ctx, d, func() (l look) {
		for _, j := range d.jobs {
			if spec := &j.state.Job().Spec; spec.Nonce == s.Nonce {
				l.part = spec.PartBytes
				return l
			}
		}
		if list := d.rates[workKey(s.Ops)]; len(list) >= certainRates {
			sorted := slices.Sorted(slices.Values(list))
			l.rate = sorted[len(sorted)/2]
		}
		for _, w := range d.sessions {
			l.slots += w.slots()
		}
		return l
	})
	if err != nil || found.part != 0 || found.rate == 0 {
		s.PartBytes = found.part
		return err
	}
	total, err := inputBytes(ctx, d.o.Blobs, s.Input)
	if err != nil {
		return nil //nolint:nilerr // what is wrong with the input, splitting it says
	}
	s.PartBytes = partSize(found.rate, total, aimOf(&s.Policy), found.slots)
	return nil
}

// aimOf is what a task of a job should take.
func aimOf(p *tasks.Policy) time.Duration {
	if p.AimMillis > 0 {
		return time.Duration(p.AimMillis) * time.Millisecond
	}
	return usualAim
}

// partSize is the input of one task that is done at a rate in bytes a second and should take a time; but workers with so
// many slots must all have something to do.
func partSize(rate, total int64, aim time.Duration, slots int) int64 {
	part := int64(mostPart)
	if aimed := float64(rate) * aim.Seconds(); aimed < mostPart {
		part = int64(aimed)
	}
	fair := total / int64(partsPerSlot*max(slots, fewestSlots))
	return max(min(part, fair), leastPart)
}

// inputBytes adds up the files of an input.
func inputBytes(ctx context.Context, blobs dag.Getter, root dag.CID) (sum int64, err error) {
	for f, err := range dag.Files(ctx, blobs, root) {
		if err != nil {
			return 0, err
		}
		sum += f.Size
	}
	return sum, nil
}
