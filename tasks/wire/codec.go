package wire

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"kith/storage/dag"
	"kith/tasks"
)

// The messages of a session are encoded and decoded by plans: what a type looks like on the wire, worked out once. It
// is the same strict DAG-CBOR that package dag reads and writes (a fuzz target compares the two), but because a map
// must hold exactly the fields of its struct in their one order, decoding is one pass that compares keys as bytes. (A
// pointer that is tagged omitempty, and nil, is left out: what came later than the first version of a message.) It is
// several times faster, and it allocates no more than a small multiple of what was received: a list of a million
// nulls is refused, not laid out.

// plan is how one Go type is written.
type plan struct {
	op     op
	typ    reflect.Type
	fields []planField // of a struct, in the order of keys
	elem   *plan       // of a list or pointer
	least  int         // bytes of the shortest encoding
}

type planField struct {
	key   []byte // encoded
	name  string
	index int
	plan  *plan
	may   bool // be left out: a pointer, which is nil then
}

type op byte

const (
	opStruct op = iota
	opInt
	opUint
	opBool
	opText
	opBytes // []byte; nil is null
	opArray // [n]byte
	opList  // nil is null
	opPtr   // nil is null
	opLink  // dag.CID; zero is null
)

// Major types and simple values of CBOR (RFC 8949).
const (
	majorUint  = 0 << 5
	majorNeg   = 1 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorList  = 4 << 5
	majorMap   = 5 << 5
	cborFalse  = 0xf4
	cborTrue   = 0xf5
	cborNull   = 0xf6
)

// linkHead begins a DAG-CBOR link: tag 42, a byte string, the identity multibase prefix.
var linkHead = []byte{0xd8, 42, 0x58, dag.Size + 1, 0}

// planOf makes the plan of a type, or panics: which types there are is known when the program is written.
func planOf(t reflect.Type) *plan {
	p := &plan{typ: t, least: 1}
	switch k := t.Kind(); {
	case t == reflect.TypeFor[dag.CID]():
		p.op = opLink
	case k == reflect.Struct:
		p.op = opStruct
		for i := range t.NumField() {
			name := t.Field(i).Tag.Get("cbor")
			if name == "-" {
				continue
			}
			name, may := strings.CutSuffix(name, ",omitempty")
			if name == "" || strings.Contains(name, ",") || may && t.Field(i).Type.Kind() != reflect.Pointer {
				panic("BUG: no plain cbor tag on " + t.String() + "." + t.Field(i).Name)
			}
			key := append(appendHead(nil, majorText, uint64(len(name))), name...)
			f := planField{key: key, name: name, index: i, plan: planOf(t.Field(i).Type), may: may}
			p.fields = append(p.fields, f)
			if !may {
				p.least += len(key) + f.plan.least
			}
		}
		// DAG-CBOR sorts by length, then bytes: encoded keys begin with their length.
		slices.SortFunc(p.fields, func(a, b planField) int {
			return cmp.Or(cmp.Compare(len(a.key), len(b.key)), bytes.Compare(a.key, b.key))
		})
	case k == reflect.Bool:
		p.op = opBool
	case k == reflect.String:
		p.op = opText
	case k >= reflect.Int && k <= reflect.Int64:
		p.op = opInt
	case k >= reflect.Uint && k <= reflect.Uint64:
		p.op = opUint
	case k == reflect.Array && t.Elem().Kind() == reflect.Uint8:
		p.op, p.least = opArray, len(appendHead(nil, majorBytes, uint64(t.Len())))+t.Len()
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		p.op = opBytes
	case k == reflect.Slice:
		p.op, p.elem = opList, planOf(t.Elem())
	case k == reflect.Pointer:
		p.op, p.elem = opPtr, planOf(t.Elem())
	default:
		panic("BUG: no encoding for " + t.String())
	}
	return p
}

// appendHead writes a major type with its number in the fewest bytes.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, major|27), n)
	}
}

// encode appends v, which must be addressable and of the plan's type.
func (p *plan) encode(b []byte, v reflect.Value) []byte {
	switch p.op {
	case opStruct:
		n := len(p.fields)
		for i := range p.fields {
			if f := &p.fields[i]; f.may && v.Field(f.index).IsNil() {
				n--
			}
		}
		b = appendHead(b, majorMap, uint64(n))
		for i := range p.fields {
			f := &p.fields[i]
			if f.may && v.Field(f.index).IsNil() {
				continue
			}
			b = append(b, f.key...)
			b = f.plan.encode(b, v.Field(f.index))
		}
		return b
	case opInt:
		n := v.Int()
		if n < 0 {
			return appendHead(b, majorNeg, uint64(-1-n))
		}
		return appendHead(b, majorUint, uint64(n))
	case opUint:
		return appendHead(b, majorUint, v.Uint())
	case opBool:
		if v.Bool() {
			return append(b, cborTrue)
		}
		return append(b, cborFalse)
	case opText:
		s := v.String()
		return append(appendHead(b, majorText, uint64(len(s))), s...)
	case opBytes:
		if v.IsNil() {
			return append(b, cborNull)
		}
		return append(appendHead(b, majorBytes, uint64(v.Len())), v.Bytes()...)
	case opArray:
		return append(appendHead(b, majorBytes, uint64(v.Len())), v.Bytes()...)
	case opLink:
		c := v.Bytes()
		if dag.CID(c) == (dag.CID{}) {
			return append(b, cborNull)
		}
		return append(append(b, linkHead...), c...)
	case opList:
		if v.IsNil() {
			return append(b, cborNull)
		}
		b = appendHead(b, majorList, uint64(v.Len()))
		for i := range v.Len() {
			b = p.elem.encode(b, v.Index(i))
		}
		return b
	default: // opPtr
		if v.IsNil() {
			return append(b, cborNull)
		}
		return p.elem.encode(b, v.Elem())
	}
}

// decoder reads one value from b.
type decoder struct {
	b      []byte
	budget int  // bytes that may still be allocated for lists
	alias  bool // byte strings may share memory with b
}

var (
	errShort   = errors.New("cut off")
	errMinimal = errors.New("number or length not in the fewest bytes")
	errBudget  = errors.New("lists out of proportion to the size of the message")
)

// newDecoder allows as much memory for lists as an honest message of this size may need.
func newDecoder(b []byte) decoder { return decoder{b: b, budget: 4*len(b) + 64<<10} }

// head reads a major type and its number.
func (d *decoder) head(major byte) (uint64, error) {
	if len(d.b) == 0 {
		return 0, errShort
	}
	first := d.b[0]
	if first&0xe0 != major {
		return 0, fmt.Errorf("found byte %#02x, want major type %d", first, major>>5)
	}
	info := first & 0x1f
	if info < 24 {
		d.b = d.b[1:]
		return uint64(info), nil
	}
	if info > 27 {
		return 0, fmt.Errorf("found byte %#02x: indefinite lengths are not allowed", first)
	}
	size := 1 << (info - 24)
	if len(d.b) < 1+size {
		return 0, errShort
	}
	var n, least uint64
	switch p := d.b[1:]; size {
	case 1:
		n, least = uint64(p[0]), 24
	case 2:
		n, least = uint64(binary.BigEndian.Uint16(p)), 1<<8
	case 4:
		n, least = uint64(binary.BigEndian.Uint32(p)), 1<<16
	default:
		n, least = binary.BigEndian.Uint64(p), 1<<32
	}
	if n < least {
		return 0, errMinimal
	}
	d.b = d.b[1+size:]
	return n, nil
}

// bytes reads a string of a major type; it shares memory with the input.
func (d *decoder) bytes(major byte) ([]byte, error) {
	n, err := d.head(major)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(d.b)) {
		return nil, errShort
	}
	s := d.b[:n:n]
	d.b = d.b[n:]
	return s, nil
}

// null reads a null, if there is one.
func (d *decoder) null() bool {
	if len(d.b) == 0 || d.b[0] != cborNull {
		return false
	}
	d.b = d.b[1:]
	return true
}

// decode reads one value into v, which must be settable, zero and of the plan's type.
func (p *plan) decode(d *decoder, v reflect.Value) error {
	switch p.op {
	case opStruct:
		n, err := d.head(majorMap)
		if err != nil {
			return err
		}
		left := uint64(len(p.fields))
		for i := range p.fields {
			f := &p.fields[i]
			switch {
			case n > left:
				return fmt.Errorf("%d fields, want %d", n, len(p.fields))
			case f.may && (n == 0 || !bytes.HasPrefix(d.b, f.key)):
				left--
				continue
			case n == 0:
				return fmt.Errorf("too few fields, want %d", len(p.fields))
			case !bytes.HasPrefix(d.b, f.key):
				return fmt.Errorf("found no field %q in its place", f.name)
			}
			n, left = n-1, left-1
			d.b = d.b[len(f.key):]
			if f.may && d.null() {
				return fmt.Errorf("%s: null, want it left out", f.name)
			}
			if err := f.plan.decode(d, v.Field(f.index)); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
		if n != 0 {
			return fmt.Errorf("%d fields too many", n)
		}
	case opInt:
		return d.integer(v)
	case opUint:
		n, err := d.head(majorUint)
		if err != nil {
			return err
		}
		if v.OverflowUint(n) {
			return fmt.Errorf("number %d is too large", n)
		}
		v.SetUint(n)
	case opBool:
		if len(d.b) == 0 || d.b[0] != cborTrue && d.b[0] != cborFalse {
			return errors.New("want a boolean")
		}
		v.SetBool(d.b[0] == cborTrue)
		d.b = d.b[1:]
	case opText:
		s, err := d.bytes(majorText)
		if err != nil {
			return err
		}
		if !utf8.Valid(s) {
			return errors.New("text is not UTF-8")
		}
		v.SetString(string(s))
	case opBytes:
		if d.null() {
			return nil
		}
		s, err := d.bytes(majorBytes)
		if err != nil {
			return err
		}
		if !d.alias {
			s = append(make([]byte, 0, len(s)), s...)
		}
		v.SetBytes(s)
	case opArray:
		s, err := d.bytes(majorBytes)
		if err != nil {
			return err
		}
		if len(s) != v.Len() {
			return fmt.Errorf("%d bytes, want %d", len(s), v.Len())
		}
		copy(v.Bytes(), s)
	case opLink:
		return d.link(v)
	case opList:
		return p.list(d, v)
	case opPtr:
		if d.null() {
			return nil
		}
		v.Set(reflect.New(p.elem.typ))
		return p.elem.decode(d, v.Elem())
	}
	return nil
}

func (d *decoder) integer(v reflect.Value) error {
	major := byte(majorUint)
	if len(d.b) > 0 && d.b[0]&0xe0 == majorNeg {
		major = majorNeg
	}
	u, err := d.head(major)
	if err != nil {
		return err
	}
	if u > math.MaxInt64 {
		return fmt.Errorf("number %d is too large", u)
	}
	n := int64(u)
	if major == majorNeg {
		n = -1 - n
	}
	if v.OverflowInt(n) {
		return fmt.Errorf("number %d is too large", n)
	}
	v.SetInt(n)
	return nil
}

func (d *decoder) link(v reflect.Value) error {
	if d.null() {
		return nil
	}
	if !bytes.HasPrefix(d.b, linkHead) || len(d.b) < len(linkHead)+dag.Size {
		return errors.New("want a link")
	}
	c, err := dag.CIDFromBytes(d.b[len(linkHead):][:dag.Size])
	if err != nil {
		return err
	}
	copy(v.Bytes(), c[:])
	d.b = d.b[len(linkHead)+dag.Size:]
	return nil
}

func (p *plan) list(d *decoder, v reflect.Value) error {
	if d.null() {
		return nil
	}
	n, err := d.head(majorList)
	if err != nil {
		return err
	}
	if n > uint64(len(d.b)/p.elem.least) {
		return errShort
	}
	if d.budget -= int(n) * int(p.elem.typ.Size()); d.budget < 0 {
		return errBudget
	}
	v.Set(reflect.MakeSlice(p.typ, int(n), int(n)))
	for i := range int(n) {
		if err := p.elem.decode(d, v.Index(i)); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	return nil
}

// plans holds every type this package puts on the wire.
var plans = makePlans(
	Hello{}, Ask{}, Heartbeat{}, Commits{}, Reveals{}, Returned{}, ReceiptAck{}, Bye{}, Welcome{}, Leases{}, RevealRequest{},
	Delivered{}, Verdicts{}, Cancel{}, Receipts{}, NoWork{}, envelope{}, record{}, Offer{}, Capability{}, FetchToken{}, FetchRequest{},
	FetchReply{}, DepositRequest{}, DepositReply{}, Deposit{}, Register{}, RegisterReply{}, Search{}, SearchReply{}, Invite{}, InviteReply{}, Notice{},
	signedNotice{}, tasks.Receipt{}, Bundle{}, Claim{}, Claims{},
)

func makePlans(values ...any) map[reflect.Type]*plan {
	m := make(map[reflect.Type]*plan, len(values))
	for _, v := range values {
		m[reflect.TypeOf(v)] = planOf(reflect.TypeOf(v))
	}
	return m
}

// marshal encodes the value v points to, which must be of one of the types in plans.
func marshal(v any) []byte { return appendValue(make([]byte, 0, 512), v) }

func appendValue(b []byte, v any) []byte {
	p := reflect.ValueOf(v).Elem()
	return plans[p.Type()].encode(b, p)
}

// unmarshal decodes b, all of it, into the zero value v points to. It shares no memory with b.
func unmarshal(b []byte, v any) error { return unmarshalFrom(newDecoder(b), v) }

func unmarshalFrom(d decoder, v any) error {
	p := reflect.ValueOf(v).Elem()
	if err := plans[p.Type()].decode(&d, p); err != nil {
		return bad(ErrEncoding, "%T: %v", v, err)
	}
	if len(d.b) != 0 {
		return bad(ErrEncoding, "%T: %d bytes follow", v, len(d.b))
	}
	return nil
}
