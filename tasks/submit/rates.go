package submit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"kith/storage/dag"
)

// Memory is where a little is kept that is better remembered than measured anew. What Load returns is what Save was last
// given, whole, or nothing at all; both may be called from any goroutine.
type Memory interface {
	Load() ([]byte, error) // nothing was kept yet: (nil, nil)
	Save(data []byte) error
}

const (
	ratesVersion = 1
	mostRates    = 256 << 10 // bytes of all rates that are kept, encoded
	ratesGap     = 30 * time.Second
)

// ErrRates: the bytes are not the rates that a driver kept.
var ErrRates = errors.New("what tasks took before cannot be read")

// rated is the rates of one kind of work as they are kept.
type rated struct {
	Work  [32]byte `cbor:"work"` // workKey
	Bytes []int64  `cbor:"bytes"`
}

// encodeRates writes one byte of version, then a DAG-CBOR list.
func encodeRates(m map[[32]byte]rates) []byte {
	list := make([]rated, 0, len(m))
	for key, r := range m {
		list = append(list, rated{key, r})
	}
	slices.SortFunc(list, func(a, b rated) int { return bytes.Compare(a.Work[:], b.Work[:]) })
	b, err := dag.Marshal(list)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return append([]byte{ratesVersion}, b...)
}

func decodeRates(b []byte) (map[[32]byte]rates, error) {
	if len(b) == 0 || len(b) > mostRates {
		return nil, fmt.Errorf("%w: %d bytes, want 1 to %d", ErrRates, len(b), mostRates)
	}
	if b[0] != ratesVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows %d", ErrRates, b[0], ratesVersion)
	}
	var list []rated
	if err := dag.Unmarshal(b[1:], &list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRates, err)
	}
	if len(list) > maxRated {
		return nil, fmt.Errorf("%w: %d kinds of work, at most %d", ErrRates, len(list), maxRated)
	}
	m := make(map[[32]byte]rates, len(list))
	for _, r := range list {
		if len(r.Bytes) > keptRates || slices.ContainsFunc(r.Bytes, func(n int64) bool { return n < 1 }) {
			return nil, fmt.Errorf("%w: %d rates of one kind of work, or one below 1", ErrRates, len(r.Bytes))
		}
		m[r.Work] = r.Bytes
	}
	return m, nil
}

// loadRates takes up the rates that were kept. Without them nothing else is lost: they are measured anew.
func (d *Driver) loadRates() {
	if d.o.Rates == nil {
		return
	}
	b, err := d.o.Rates.Load()
	if err == nil && len(b) > 0 {
		var m map[[32]byte]rates
		if m, err = decodeRates(b); err == nil {
			d.rates = m
		}
	}
	if err != nil {
		d.log.Warn("Tasks have their usual size until it is known anew what they take", slogErr(err))
	}
}

// keepRates writes the rates down, a while after they have changed. One write is under way at a time.
func (d *Driver) keepRates(now int64) {
	if d.keeping {
		return // its end looks again
	}
	if d.ratesAt == 0 || d.ratesAt > now {
		d.due(d.ratesAt)
		return
	}
	d.ratesAt, d.keeping = 0, true
	b := encodeRates(d.rates)
	d.work.Go(func() {
		d.saveRates(b)
		d.box.Post(func() {
			d.keeping = false
			d.due(d.ratesAt)
		})
	})
}

// saveRates writes encoded rates down. Without them nothing else is lost.
func (d *Driver) saveRates(b []byte) {
	if err := d.o.Rates.Save(b); err != nil {
		d.log.Warn("What tasks take is not written down", slogErr(err))
	}
}

// keepRatesNow writes down at the end, when nothing else does, what was not yet.
func (d *Driver) keepRatesNow() {
	if d.ratesAt != 0 {
		d.saveRates(encodeRates(d.rates))
	}
}
