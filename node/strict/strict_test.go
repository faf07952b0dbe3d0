package strict

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

type inner struct {
	Port int    `json:"port"`
	Name string `json:"name"`
}

type doc struct {
	Version int               `json:"version"`
	Listen  inner             `json:"listen"`
	List    []inner           `json:"list"`
	Labels  map[string]string `json:"labels"`
	On      bool              `json:"on"`
	Raw     json.RawMessage   `json:"raw"`
}

func TestDecode(t *testing.T) {
	var d doc
	good := `{"version":1,"listen":{"port":4717,"name":"é"},"list":[{"port":1},{"name":"b"}],"labels":{"any":"thing"},"raw":{"free":[1]}}` + "\n"
	if err := Decode([]byte(good), &d); err != nil {
		t.Fatal(err)
	}
	if d.Listen.Port != 4717 || len(d.List) != 2 || d.Labels["any"] != "thing" {
		t.Fatalf("decoded %+v", d)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"unknown", "{\n  \"listen\": {\n    \"prot\": 1}}", `line 3, column 5: listen.prot: no such field; did you mean "port"?`},
		{"unknown, far from all", `{"zzzzzzzz":1}`, `line 1, column 2: zzzzzzzz: no such field`},
		{"in a list", `{"list":[{},{"nam":""}]}`, `line 1, column 14: list[1].nam: no such field; did you mean "name"?`},
		{"twice", `{"version":1,"version":2}`, `line 1, column 14: version: named twice`},
		{"wrong type", `{"version":"x"}`, `version: is a string where a whole number is wanted`},
		{"fraction", `{"version":1.5}`, `where a whole number is wanted`},
		{"trailing", `{} {}`, `line 1, column 4: something follows`},
		{"cut", `{"version":1`, `the document ends too early`},
		{"empty", ``, `the document ends too early`},
		{"comma", `{"version":1,}`, `line 1, column 13`},
		{"utf8", "{\"x\":\"\xff\"}", `line 1, column 7: not valid UTF-8`},
		{"deep", strings.Repeat("[", 100), `nested more than 32 deep`},
		{"column in characters", "{\"labels\":{\"ü\":\"ü\"},\"on\":3}", `on: is a number where a true or false is wanted`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d doc
			err := Decode([]byte(c.doc), &d)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	all := []string{"listen.port", "api.port", "network", "log.level"}
	for in, want := range map[string]string{"netwrok": "network", "listenport": "listen.port", "log.levle": "log.level", "colour": "", "": ""} {
		if got := Nearest(in, all); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"listen":{"port":4717},"list":[{"name":"x"}],"labels":{"a":"b"},"raw":[{}]}`))
	f.Add([]byte(`{"Version":1}`))
	f.Add([]byte("{\"version\":1,\n\"versoin\":\xff}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d doc
		err := Decode(data, &d)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 {
				t.Fatalf("not a located error: %v", err)
			}
			return
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var back doc
		if err := Decode(again, &back); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
