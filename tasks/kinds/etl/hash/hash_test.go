package hash

import (
	"errors"
	"strings"
	"testing"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/kindtest"
)

var docs = []kindtest.Doc{{Path: "empty"}, {Path: "abc", Data: "abc"}, {Path: "x", Data: strings.Repeat("x", 5000)}, {Path: "y", Data: "\x00\xff"}, {Path: "z"}}

// The values of the empty text and of "abc" are those of FIPS 180 and of the BLAKE3 paper's test vectors.
func TestValues(t *testing.T) {
	out, err := kindtest.Job{
		Kinds: kindtest.Registry{Kind{}}, Ops: []tasks.Op{{Kind: "etl.hash"}}, Parts: kindtest.Parts(docs[:2]),
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"path":"empty","at":0,"off":0,"len":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","blake3":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"}
{"path":"abc","at":0,"off":0,"len":3,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","blake3":"6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"}
`
	if got := string(out[corpus.IndexFile].Data); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestConform(t *testing.T) {
	kindtest.Conform(t, Kind{}, `{"algorithms":["blake3"]}`, docs...)
}

func TestCheck(t *testing.T) {
	for _, bad := range []string{`{"algorithms":[]}`, `{"algorithms":["md5"]}`, `{"algorithms":["sha256","sha256"]}`, `{"algorithms":["sha256","blake3","sha256"]}`} {
		if _, err := (Kind{}).Check([]byte(bad)); !errors.Is(err, tasks.ErrParams) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}
