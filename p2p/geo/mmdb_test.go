package geo

import (
	"encoding/binary"
	"math"
	"net/netip"
	"os"
	"slices"
	"testing"
)

// writeMMDB writes a MaxMind DB of version 2.0 with 24-bit records over IPv6, IPv4 networks at ::/96. A record is a
// list of keys and values in turn; a nested list is a map.
func writeMMDB(t *testing.T, path, kind string, nets map[string][]any) {
	t.Helper()
	type node [2]int // > 0: node; < 0: −(1 + offset in data); 0: nothing
	tree := []node{{}}
	var data []byte
	prefixes := make([]string, 0, len(nets))
	for p := range nets {
		prefixes = append(prefixes, p)
	}
	slices.Sort(prefixes)
	for _, p := range prefixes {
		prefix := netip.MustParsePrefix(p)
		bits := append(make([]byte, 12), prefix.Addr().AsSlice()...)
		at := 0
		for i := range 96 + prefix.Bits() {
			side := int(bits[i/8]>>(7-i%8)) & 1
			if i == 96+prefix.Bits()-1 {
				tree[at][side] = -(1 + len(data))
				break
			}
			if tree[at][side] == 0 {
				tree = append(tree, node{})
				tree[at][side] = len(tree) - 1
			}
			at = tree[at][side]
		}
		data = appendMMDB(data, nets[p])
	}
	var out []byte
	for _, n := range tree {
		for _, r := range n {
			v := len(tree)
			if r > 0 {
				v = r
			} else if r < 0 {
				v = len(tree) + 16 + (-r - 1)
			}
			out = append(out, byte(v>>16), byte(v>>8), byte(v))
		}
	}
	out = append(append(out, make([]byte, 16)...), data...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	out = appendMMDB(out, []any{
		"binary_format_major_version", uint16(2), "binary_format_minor_version", uint16(0), "build_epoch", uint16(1),
		"database_type", kind, "ip_version", uint16(6), "node_count", uint16(len(tree)), "record_size", uint16(24),
	})
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
}

func appendMMDB(b []byte, v any) []byte {
	switch v := v.(type) {
	case []any:
		b = append(b, byte(7<<5|len(v)/2))
		for _, x := range v {
			b = appendMMDB(b, x)
		}
	case string:
		if len(v) < 29 {
			b = append(b, byte(2<<5|len(v)))
		} else {
			b = append(b, 2<<5|29, byte(len(v)-29))
		}
		b = append(b, v...)
	case uint16:
		b = binary.BigEndian.AppendUint16(append(b, 5<<5|2), v)
	case uint32:
		b = binary.BigEndian.AppendUint32(append(b, 6<<5|4), v)
	case float64:
		b = binary.BigEndian.AppendUint64(append(b, 3<<5|8), math.Float64bits(v))
	}
	return b
}
