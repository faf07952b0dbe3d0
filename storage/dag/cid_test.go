package dag_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"kith/storage/dag"
)

// TestSumVectors: roots that other IPLD software gives the same bytes.
func TestSumVectors(t *testing.T) {
	for _, v := range []struct {
		codec dag.Codec
		hash  dag.Hash
		data  string
		want  string
	}{
		{dag.Raw, dag.SHA256, "hello", "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"},
		{dag.Raw, dag.SHA256, "", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
		{dag.DagCBOR, dag.SHA256, "\xa0", "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"},
		{dag.Raw, dag.BLAKE3, "", "bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi"},
	} {
		c := dag.Sum(v.codec, v.hash, []byte(v.data))
		if c.String() != v.want {
			t.Errorf("%q: %s, want %s", v.data, c, v.want)
		}
		if back, err := dag.ParseCID(v.want); err != nil || back != c || back.Codec() != v.codec || back.Hash() != v.hash {
			t.Errorf("%s: parsed %v %v", v.want, back, err)
		}
		if err := dag.Verify(c, []byte(v.data)); err != nil {
			t.Error(err)
		}
		if err := dag.Verify(c, []byte("other")); !errors.Is(err, dag.ErrMismatch) {
			t.Errorf("other content: %v", err)
		}
	}
}

func TestCIDRefusals(t *testing.T) {
	good := dag.Sum(dag.Raw, dag.SHA256, nil)
	for name, header := range map[string][4]byte{
		"version 0": {0, 0x55, 0x12, 32}, "dag-pb": {1, 0x70, 0x12, 32}, "sha1": {1, 0x55, 0x11, 32}, "identity": {1, 0x55, 0, 32}, "short": {1, 0x55, 0x12, 20},
	} {
		c := good
		copy(c[:], header[:])
		if _, err := dag.CIDFromBytes(c[:]); !errors.Is(err, dag.ErrCID) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := dag.ParseCID(c.String()); !errors.Is(err, dag.ErrCID) {
			t.Errorf("%s as text: %v", name, err)
		}
	}
	for _, s := range []string{"", "b", "z" + good.String()[1:], good.String() + "a", good.String()[:50], "B" + good.String()[1:], "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"} {
		if _, err := dag.ParseCID(s); !errors.Is(err, dag.ErrCID) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestCIDThroughCodecs(t *testing.T) {
	type holder struct {
		C dag.CID `cbor:"c" json:"c"`
	}
	for _, want := range []holder{{}, {dag.Sum(dag.DagCBOR, dag.BLAKE3, []byte("x"))}} {
		var got holder
		b, err := dag.Marshal(want)
		must(t, err)
		if err := dag.Unmarshal(b, &got); err != nil || got != want {
			t.Errorf("CBOR: %v %v, want %v", got, err, want)
		}
		b, err = json.Marshal(want)
		must(t, err)
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Errorf("JSON: %v %v, want %v", got, err, want)
		}
	}
}

// TestUnmarshalIsStrict: every way to write a value differently is refused.
func TestUnmarshalIsStrict(t *testing.T) {
	type value struct {
		A int    `cbor:"a"`
		B string `cbor:"bb"`
	}
	good := []byte("\xa2\x61a\x01\x62bb\x61x")
	var v value
	if err := dag.Unmarshal(good, &v); err != nil || v != (value{1, "x"}) {
		t.Fatalf("%v %v", v, err)
	}
	for name, b := range map[string]string{
		"empty":             "",
		"trailing byte":     string(good) + "\x00",
		"cut":               string(good[:len(good)-1]),
		"long number":       "\xa2\x61a\x18\x01\x62bb\x61x",
		"long head":         "\xb8\x02\x61a\x01\x62bb\x61x",
		"unsorted":          "\xa2\x62bb\x61x\x61a\x01",
		"doubled key":       "\xa3\x61a\x01\x61a\x01\x62bb\x61x",
		"unknown field":     "\xa3\x61a\x01\x61c\x01\x62bb\x61x",
		"missing field":     "\xa1\x61a\x01",
		"other case":        "\xa2\x61A\x01\x62bb\x61x",
		"indefinite map":    "\xbf\x61a\x01\x62bb\x61x\xff",
		"indefinite string": "\xa2\x61a\x01\x62bb\x7f\x61x\xff",
		"bad UTF-8":         "\xa2\x61a\x01\x62bb\x61\xff",
		"float":             "\xa2\x61a\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00\x62bb\x61x",
		"null":              "\xf6",
		"tagged":            "\xc1" + string(good),
	} {
		if err := dag.Unmarshal([]byte(b), new(value)); !errors.Is(err, dag.ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLinksIsStrict(t *testing.T) {
	c := dag.Sum(dag.DagCBOR, dag.SHA256, nil)
	link, err := c.MarshalCBOR()
	must(t, err)
	l := string(link)
	for name, b := range map[string]string{
		"empty":               "",
		"two values":          "\x01\x01",
		"cut link":            l[:20],
		"tag 43":              "\xd8\x2b" + l[2:],
		"long tag":            "\xd9\x00\x2a" + l[2:],
		"link as text":        "\xd8\x2a\x78" + l[3:],
		"no multibase":        l[:4] + "\x01" + l[5:],
		"other hash":          l[:7] + "\x13" + l[8:],
		"indefinite array":    "\x9f\xff",
		"huge array":          "\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
		"huge map":            "\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
		"huge bytes":          "\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
		"undefined":           "\xf7",
		"simple 255":          "\xf8\xff",
		"half float":          "\xf9\x3c\x00",
		"float":               "\xfa\x3f\x80\x00\x00",
		"NaN":                 "\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00",
		"number as key":       "\xa1\x01\x01",
		"keys out of order":   "\xa2\x62bb\x01\x61a\x01",
		"key twice":           "\xa2\x61a\x01\x61a\x01",
		"text is no UTF-8":    "\x61\xff",
		"nested too deep":     string(bytes.Repeat([]byte{0x81}, 40)) + "\x01",
		"reserved additional": "\x1c",
	} {
		if _, err := dag.Links(c, []byte(b)); !errors.Is(err, dag.ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string]string{
		"scalar": "\x01", "float": "\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00", "bool": "\xf5", "null": "\xf6", "negative": "\x20", "bytes": "\x41\xff",
	} {
		if links, err := dag.Links(c, []byte(b)); err != nil || len(links) != 0 {
			t.Errorf("%s: %v %v", name, links, err)
		}
	}
	links, err := dag.Links(c, []byte("\x82"+l+"\xa1\x61a"+l))
	if err != nil || len(links) != 2 || links[0] != c || links[1] != c {
		t.Errorf("two links: %v %v", links, err)
	}
	if links, err := dag.Links(dag.Sum(dag.Raw, dag.SHA256, nil), []byte("\x82"+l+l)); err != nil || links != nil {
		t.Errorf("raw: %v %v", links, err)
	}
}

// FuzzLinks: no bytes panic; what an independent decoder cannot read at all is not accepted.
func FuzzLinks(f *testing.F) {
	c := dag.Sum(dag.DagCBOR, dag.SHA256, nil)
	seed, err := dag.Marshal(map[string]any{"a": []dag.CID{c, c}, "b": 1.5, "cc": "text", "d": []byte{1}, "e": nil, "f": -5, "g": true})
	must(f, err)
	f.Add(seed)
	f.Add([]byte("\xa0"))
	f.Add([]byte("\x9b\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		links, err := dag.Links(c, b)
		if err != nil {
			return
		}
		if len(links)*dag.Size > len(b) {
			t.Errorf("%d links in %d bytes", len(links), len(b))
		}
		if err := cbor.Wellformed(b); err != nil {
			t.Errorf("accepted what is no CBOR: %v", err)
		}
	})
}

// FuzzCID: what is parsed has one text and one binary form.
func FuzzCID(f *testing.F) {
	f.Add(dag.Sum(dag.Raw, dag.BLAKE3, nil).String())
	f.Add("b")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := dag.ParseCID(s)
		if err != nil {
			return
		}
		if c.String() != s {
			t.Errorf("%q reads as %s", s, c)
		}
		if back, err := dag.CIDFromBytes(c[:]); err != nil || back != c {
			t.Errorf("%s: %v %v", c, back, err)
		}
	})
}
