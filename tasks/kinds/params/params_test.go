package params_test

import (
	"errors"
	"strings"
	"testing"

	"kith/tasks"
	"kith/tasks/kinds/params"
)

type settings struct {
	Window  int  `json:"window"`
	Overlap int  `json:"overlap"`
	Keep    bool `json:"keep"`
}

func TestDecode(t *testing.T) {
	for in, want := range map[string]string{
		``:                           `{"window":5,"overlap":0,"keep":true}`,
		` {} `:                       `{"window":5,"overlap":0,"keep":true}`,
		`{"keep":false,"window": 7}`: `{"window":7,"overlap":0,"keep":false}`,
	} {
		s := settings{Window: 5, Keep: true}
		if err := params.Decode([]byte(in), &s); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if got, _ := params.Canonical(s); string(got) != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	for name, in := range map[string]string{
		"unknown field": `{"windo":7}`, "null": `null`, "list": `[]`, "two": `{}{}`, "type": `{"window":"7"}`, "half": `{"window"`,
		"long": strings.Repeat(" ", params.MaxBytes) + "{}",
	} {
		if err := params.Decode([]byte(in), &settings{}); !errors.Is(err, tasks.ErrParams) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestDecodeSaysWhat(t *testing.T) {
	for in, want := range map[string]string{
		`{"windo":7}`:      `unknown field "windo"; there are: window, overlap, keep`,
		`{"window":"big"}`: "window is a string, want a whole number",
		`{"window":1.5}`:   "window is a number 1.5, want a whole number",
		`{"keep":1}`:       "keep is a number, want true or false",
	} {
		if err := params.Decode([]byte(in), &settings{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", in, err, want)
		}
	}
}

func TestRange(t *testing.T) {
	for _, v := range []int64{1, 3} {
		if err := params.Range("x", v, 1, 3); err != nil {
			t.Error(err)
		}
	}
	for _, v := range []int64{0, 4} {
		if err := params.Range("window", v, 1, 3); !errors.Is(err, tasks.ErrParams) || !strings.Contains(err.Error(), "window") {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"window":1}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var s settings
		if params.Decode(in, &s) != nil {
			return
		}
		b, err := params.Canonical(s)
		if err != nil {
			t.Fatal(err)
		}
		var again settings
		if err := params.Decode(b, &again); err != nil || again != s {
			t.Errorf("%s: %+v, then %+v, %v", in, s, again, err)
		}
	})
}
