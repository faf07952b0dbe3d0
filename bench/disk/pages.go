package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"unsafe"
)

// A test file is made of pages, each of which says where it belongs and how often it was written, and is otherwise
// filled with noise that follows from its place: whatever a drive gives back can be told from what it should.
const (
	page     = 4 << 10
	chunk    = 1 << 20
	perChunk = chunk / page
	header   = 24 // magic, place, generation
	magic    = 0x6b6974682064726b
)

// pages is what a test file should hold.
type pages struct {
	noise []byte          // the content of a chunk but for the headers
	gens  []atomic.Uint32 // of each page; 0: never written, lost: a write failed
	later bool            // pages may have been written after gens was noted
}

const lost = 1<<32 - 1

func newPages(n int, seed uint64) *pages {
	p := &pages{noise: aligned(chunk), gens: make([]atomic.Uint32, n)}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	rand.NewChaCha8(key).Read(p.noise)
	return p
}

// aligned returns n bytes that begin at a multiple of the page size, as direct IO wants them.
func aligned(n int) []byte {
	b := make([]byte, n+page)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(&b[0])) % page); rest > 0 {
		skip = page - rest
	}
	return b[skip : skip+n : skip+n]
}

// fill makes b the content of the pages from first on, each one generation on, and returns what the generations become.
// Call wrote or failed after the write. Pages are written by one goroutine at a time.
func (p *pages) fill(b []byte, first int) {
	at := first % perChunk * page
	for i := 0; i < len(b)/page; i++ {
		copy(b[i*page+header:(i+1)*page], p.noise[(at+i*page)%chunk+header:(at+i*page)%chunk+page])
	}
	p.stamp(b, first)
}

// stamp sets the headers alone, of a buffer that already holds the noise of its place.
func (p *pages) stamp(b []byte, first int) {
	for i := 0; i < len(b)/page; i++ {
		gen := p.gens[first+i].Load() + 1
		if gen >= lost {
			gen = 1
		}
		binary.LittleEndian.PutUint64(b[i*page:], magic)
		binary.LittleEndian.PutUint64(b[i*page+8:], uint64(first+i))
		binary.LittleEndian.PutUint64(b[i*page+16:], uint64(gen))
	}
}

// wrote notes that a buffer is where it belongs.
func (p *pages) wrote(b []byte, first int) {
	for i := 0; i < len(b)/page; i++ {
		p.gens[first+i].Store(uint32(binary.LittleEndian.Uint64(b[i*page+16:])))
	}
}

// failed notes that nobody knows what a drive holds now.
func (p *pages) failed(n, first int) {
	for i := range n / page {
		p.gens[first+i].Store(lost)
	}
}

// check compares what was read with what should be there.
func (p *pages) check(b []byte, first int) error {
	for i := 0; i < len(b)/page; i++ {
		gen := p.gens[first+i].Load()
		if gen == 0 || gen == lost {
			continue
		}
		got := b[i*page : (i+1)*page]
		place := binary.LittleEndian.Uint64(got[8:])
		at := (first + i) % perChunk * page
		switch {
		case binary.LittleEndian.Uint64(got) != magic:
			return fmt.Errorf("page %d holds something else", first+i)
		case place != uint64(first+i):
			return fmt.Errorf("page %d holds page %d", first+i, place)
		case uint32(binary.LittleEndian.Uint64(got[16:])) != gen && (!p.later || uint32(binary.LittleEndian.Uint64(got[16:])) < gen):
			return fmt.Errorf("page %d is of another time: write %d, want %d", first+i, binary.LittleEndian.Uint64(got[16:]), gen)
		case !bytes.Equal(got[header:], p.noise[at+header:at+page]):
			return fmt.Errorf("page %d is damaged", first+i)
		}
		if p.later {
			p.gens[first+i].Store(uint32(binary.LittleEndian.Uint64(got[16:])))
		}
	}
	return nil
}
