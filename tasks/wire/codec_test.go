package wire

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kith/storage/dag"
	"kith/tasks"
)

// planTypes lists the types of plans in a fixed order.
func planTypes() []reflect.Type {
	var list []reflect.Type
	for t := range plans {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b reflect.Type) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// agree decodes b as t by plan and by package dag, and fails if the two do not agree in every way.
func agree(t *testing.T, typ reflect.Type, b []byte) {
	t.Helper()
	ours, theirs := reflect.New(typ), reflect.New(typ)
	got, want := unmarshal(b, ours.Interface()), dag.Unmarshal(b, theirs.Interface())
	if (got == nil) != (want == nil) {
		t.Fatalf("%s %x: %v, package dag says %v", typ, b, got, want)
	}
	if got != nil {
		if !errors.Is(got, ErrEncoding) {
			t.Fatalf("%s: refused with %v", typ, got)
		}
		return
	}
	if !reflect.DeepEqual(theirs.Interface(), ours.Interface()) {
		t.Fatalf("%s %x: %+v, package dag says %+v", typ, b, ours, theirs)
	}
	if again := marshal(ours.Interface()); !bytes.Equal(again, b) {
		t.Fatalf("%s: written back as %x, was %x", typ, again, b)
	}
}

// FuzzCodec holds the plans against package dag for every type on the wire.
func FuzzCodec(f *testing.F) {
	types := planTypes()
	for i, t := range types {
		f.Add(byte(i), marshal(reflect.New(t).Interface()))
		for _, s := range sampleMessages() {
			if reflect.TypeOf(s.m).Elem() == t {
				f.Add(byte(i), marshal(s.m))
			}
		}
		for _, m := range []Message{travelling(), pointed()} {
			if reflect.TypeOf(m).Elem() == t {
				f.Add(byte(i), marshal(m))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		if len(b) < 4<<10 { // below that the budget cannot be what refuses it
			agree(t, types[int(which)%len(types)], b)
		}
	})
}

// TestCodec compares the two on damaged messages: bytes changed, cut, doubled and inserted.
func TestCodec(t *testing.T) {
	types := planTypes()
	samples := map[reflect.Type][]byte{}
	for _, typ := range types {
		samples[typ] = marshal(reflect.New(typ).Interface())
	}
	for _, s := range sampleMessages() {
		samples[reflect.TypeOf(s.m).Elem()] = marshal(s.m)
	}
	later := map[reflect.Type][]byte{ // with what came after the first version
		reflect.TypeFor[Leases](): marshal(travelling()), reflect.TypeFor[Returned](): marshal(pointed()),
	}
	rapid.Check(t, func(rt *rapid.T) {
		typ := rapid.SampledFrom(types).Draw(rt, "type")
		b := bytes.Clone(samples[typ])
		if l := later[typ]; l != nil && rapid.Bool().Draw(rt, "later") {
			b = bytes.Clone(l)
		}
		for range rapid.IntRange(0, 2).Draw(rt, "damages") {
			at := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
			switch rapid.IntRange(0, 3).Draw(rt, "damage") {
			case 0:
				b[at] = rapid.Byte().Draw(rt, "byte")
			case 1:
				b = slices.Insert(b, at, rapid.SampledFrom([]byte{0, 0x18, 0x40, 0x60, 0x80, 0xa0, 0xf6, 0xff}).Draw(rt, "insert"))
			case 2:
				b = slices.Delete(b, at, at+1)
			default:
				b = b[:at+1]
			}
			if len(b) == 0 {
				return
			}
		}
		agree(t, typ, b)
	})
}

// TestBudget sends lists out of proportion: they must cost about what was sent, not what was promised.
func TestBudget(t *testing.T) {
	nulls := func(key string, n int) []byte {
		b := append(appendHead([]byte{0xa1}, majorText, uint64(len(key))), key...)
		return append(appendHead(b, majorList, uint64(n)), bytes.Repeat([]byte{cborNull}, n)...)
	}
	for name, c := range map[string]struct {
		b []byte
		v any
	}{
		"a million nulls for leases":   {nulls("leases", 1<<20), new(Leases)},
		"a million nulls for receipts": {nulls("reveals", 1<<20), new(Reveals)},
		"keys and keys and keys": {bytes.Replace(marshal(sampleLeases(1)), append([]byte("dkeys"), 0x81, 0x40),
			append(appendHead([]byte("dkeys"), majorList, 1<<20), bytes.Repeat([]byte{0x40}, 1<<20)...), 1), new(Leases)},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := unmarshal(c.b, c.v)
		runtime.ReadMemStats(&after)
		if cost := after.TotalAlloc - before.TotalAlloc; err == nil || cost > 5*uint64(len(c.b)) {
			t.Errorf("%s (%d bytes): allocated %d, %v", name, len(c.b), cost, err)
		}
	}
	// The densest honest lease, a reduce over many parts with a key for each, is within the budget.
	m := sampleLeases(1)
	a := &m.Leases[0].Do
	a.Inputs, a.Keys = hugeLeases().Leases[0].Do.Inputs, make([][]byte, MaxInputs)
	for i := range a.Keys {
		a.Keys[i] = []byte{}
	}
	if err := unmarshal(marshal(m), new(Leases)); err != nil {
		t.Error(err)
	}
	short := &Hello{Network: testNet, Time: testNow, Ask: Ask{Kinds: make([]string, MaxKinds)}, Held: make([]tasks.LeaseID, MaxBeats)}
	if err := unmarshal(marshal(short), new(Hello)); err != nil {
		t.Error(err)
	}
}

// What came after the first version of a message is left out where there is none: then it is that version to the byte. It has
// one place, and is never null.
func TestOptionalFields(t *testing.T) {
	first := struct {
		Lease  tasks.LeaseID `cbor:"lease"`
		Reason tasks.Reason  `cbor:"reason"`
		Log    []string      `cbor:"log"`
	}{tasks.LeaseID{1}, tasks.Reason{Code: tasks.Busy}, []string{"x"}}
	old := must(dag.Marshal(&first))
	now := marshal(&Returned{Lease: first.Lease, Reason: first.Reason, Log: first.Log})
	if !bytes.Equal(old, now) {
		t.Errorf("without a checkpoint: %x, before: %x", now, old)
	}
	full := marshal(pointed())
	agree(t, reflect.TypeFor[Returned](), full)
	key := append(appendHead(nil, majorText, 5), "point"...)
	at := bytes.Index(full, key)
	end := bytes.Index(full, append(appendHead(nil, majorText, 6), "reason"...))
	for name, b := range map[string][]byte{
		"null":               slices.Concat(full[:at], key, []byte{cborNull}, full[end:]),
		"counted, not there": slices.Concat(full[:at], full[end:]),
		"there, not counted": append([]byte{full[0] - 1}, full[1:]...),
		"twice":              slices.Concat([]byte{full[0] + 1}, full[1:end], full[at:end], full[end:]),
		"last":               slices.Concat(full[:at], full[end:], full[at:end]),
	} {
		if err := unmarshal(b, new(Returned)); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
		agree(t, reflect.TypeFor[Returned](), b)
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, v := range map[string]any{
		"map": map[string]int{}, "float": 1.5, "interface": struct {
			X any `cbor:"x"`
		}{}, "no tag": struct{ X int }{}, "option": struct {
			X int `cbor:"x,omitempty"`
		}{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: has a plan", name)
				}
			}()
			planOf(reflect.TypeOf(v))
		}()
	}
}
