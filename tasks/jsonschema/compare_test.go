package jsonschema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	reference "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"kith/tasks/jsonschema"
)

// cases are schemas with values that go each way.
var cases = []struct{ schema, values string }{
	{`true`, `1 null {}`},
	{`false`, `1 null {}`},
	{`{"type":"integer"}`, `1 1.0 1.5 1e2 1e-1 "1" null true [] {}`},
	{`{"type":["number","null"]}`, `1 1.5 null "x" {}`},
	{`{"enum":[1,"a",{"x":[1,2]},null]}`, `1.0 "a" {"x":[1.0,2]} {"x":[2,1]} null 2 "b" false`},
	{`{"const":{"a":1,"b":[true]},"enum":[1]}`, `{"b":[true],"a":1.0} {"a":1} 1`},
	{`{"multipleOf":0.01,"minimum":-1,"maximum":1e3,"exclusiveMinimum":-1,"exclusiveMaximum":1000}`, `0.07 0.075 -1 1000 1000.01 999.99 "x"`},
	{`{"minLength":2,"maxLength":3,"pattern":"^[a-zé]+$"}`, `"a" "éé" "abcd" "AB" "" 7`},
	{`{"required":["a","b"],"minProperties":2,"maxProperties":2}`, `{} {"a":1} {"a":1,"b":2} {"a":1,"b":2,"c":3} []`},
	{`{"properties":{"a":{"type":"string"},"b":false},"patternProperties":{"^x":{"type":"number"},"y$":{"minimum":3}},"additionalProperties":false}`, `{"a":"s"} {"a":1} {"b":1} {"xy":2,"xz":"s"} {"q":1,"r":2} {}`},
	{`{"additionalProperties":{"type":"string"}}`, `{"a":"x"} {"a":1,"b":2}`},
	{`{"propertyNames":{"maxLength":2}}`, `{"ab":1} {"abc":1,"abcd":2} {}`},
	{`{"dependentRequired":{"a":["b","c"]},"dependentSchemas":{"b":{"minProperties":3}}}`, `{"a":1} {"a":1,"b":2,"c":3} {"b":1} {}`},
	{`{"prefixItems":[{"type":"string"},{"type":"number"}],"items":{"type":"boolean"}}`, `[] ["a"] ["a",1,true,false] ["a",1,"b"] [1,"a"] "x"`},
	{`{"items":false}`, `[] [1]`},
	{`{"contains":{"type":"number"},"minContains":2,"maxContains":3}`, `[] [1] [1,2] [1,2,3,"a"] [1,2,3,4]`},
	{`{"contains":{"type":"number"},"minContains":0}`, `[] ["a"] [1]`},
	{`{"contains":{"required":["a"]}}`, `[] [{}] [{"a":1},{}]`},
	{`{"uniqueItems":true,"minItems":1,"maxItems":4}`, `[] [1,2] [1,1.0] [{"a":1,"b":2},{"b":2,"a":1}] ["1",1] [[1],[1]] [1,2,3,4,5] [null,false,0,""]`},
	{`{"allOf":[{"type":"object"},{"required":["a"]}],"anyOf":[{"properties":{"a":{"type":"string"}}},{"properties":{"a":{"minimum":5}}}],"not":{"required":["z"]}}`, `{"a":"x"} {"a":7} {"a":1} {} 1 {"a":"x","z":1}`},
	{`{"oneOf":[{"multipleOf":2},{"multipleOf":3},{"type":"string"}]}`, `2 3 6 5 "x"`},
	{`{"if":{"properties":{"k":{"const":"a"}},"required":["k"]},"then":{"required":["x"]},"else":{"required":["y"]}}`, `{"k":"a"} {"k":"a","x":1} {"k":"b"} {"y":1}`},
	{`{"if":false,"then":false,"else":{"type":"string"}}`, `1 "x"`},
	{`{"$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#/$defs/n"},"v":{"type":"integer"}},"required":["v"]}},"$ref":"#/$defs/n"}`, `{"v":1,"next":{"v":2,"next":{"v":"x"}}} {"v":1,"next":{"v":2}} {}`},
	{`{"$ref":"#/x-y/a~1b/0","x-y":{"a/b":[{"minimum":2}]}}`, `1 2`},
	{`{"$defs":{"a":{"$anchor":"here","type":"string"}},"$ref":"#here"}`, `1 "x"`},
	{`{"$id":"http://x.example/root","$defs":{"a":{"$id":"sub/a","$defs":{"b":{"type":"string"}},"$ref":"#/$defs/b"}},"$ref":"sub/a"}`, `1 "x"`},
	{`{"$defs":{"u":{"$id":"urn:uuid:deadbeef-1234-00ff-ff00-4321feebdaed","type":"number"}},"$ref":"urn:uuid:deadbeef-1234-00ff-ff00-4321feebdaed"}`, `1 "x"`},
	{`{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`, `1 {}`},
	{`{"$ref":"#","type":"object"}`, `1 {}`},
	{`{"$id":"http://x.example/list","$dynamicAnchor":"node","type":"array","items":{"$dynamicRef":"#node"}}`, `[] [[]] [[],[1]]`},
	{`{"$id":"http://x.example/strings","$ref":"list","$defs":{"e":{"$dynamicAnchor":"t","type":"string"},"list":{"$id":"list","type":"array","items":{"$dynamicRef":"#t"},"$defs":{"e":{"$dynamicAnchor":"t"}}}}}`, `[] ["a"] [1]`},
	{`{"properties":{"a":true},"allOf":[{"patternProperties":{"^b":true}}],"unevaluatedProperties":false}`, `{"a":1,"b1":2} {"c":1} {"a":1,"c":2,"d":3} {}`},
	{`{"anyOf":[{"required":["a"],"properties":{"a":true}},{"required":["b"],"properties":{"b":true}}],"unevaluatedProperties":{"type":"number"}}`, `{"a":"s"} {"a":"s","b":"t"} {"b":"s","c":1} {"b":"s","c":"t"} {}`},
	{`{"if":{"required":["a"],"properties":{"a":{"type":"string"}}},"then":{"properties":{"x":true}},"else":{"properties":{"y":true}},"unevaluatedProperties":false}`, `{"a":"s","x":1} {"a":1,"y":1} {"y":1} {"x":1}`},
	{`{"prefixItems":[true],"contains":{"type":"string"},"unevaluatedItems":false}`, `[1] [1,"a"] ["a","b"] [1,"a",2] []`},
	{`{"not":{"properties":{"a":true}},"unevaluatedProperties":false}`, `{} 1`},
	{`{"format":"date","minLength":1}`, `"2020-13-01" "x" ""`},

	{`{"$schema":"https://json-schema.org/draft/2019-09/schema","items":[{"type":"string"}],"additionalItems":false,"unevaluatedItems":false}`, `["a"] ["a",1] [1]`},
	{`{"$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true,"type":"object","properties":{"c":{"$recursiveRef":"#"},"n":{"type":"number"}},"unevaluatedProperties":false}`, `{"c":{"n":1}} {"c":{"n":"x"}} {"c":{"z":1}} {}`},
	{`{"$schema":"https://json-schema.org/draft/2019-09/schema","contains":{"type":"string"},"unevaluatedItems":{"type":"number"}}`, `["a"] [1,"a"] [1]`},

	{`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"p":{"$id":"#p","type":"integer"}},"properties":{"a":{"$ref":"#p","minimum":9},"b":{"$ref":"#/definitions/p"}}}`, `{"a":1,"b":"x"} {"a":"x"} {}`},
	{`{"$schema":"http://json-schema.org/draft-07/schema","dependencies":{"a":["b"],"c":{"required":["d"]}},"items":[true,{"type":"string"}],"additionalItems":{"type":"number"}}`, `{"a":1} {"a":1,"b":2} {"c":1} {"c":1,"d":2} [1,"a",2] [1,2] [1,"a","b"]`},
	{`{"$schema":"http://json-schema.org/draft-07/schema#","items":[true],"additionalItems":false}`, `[1] [1,2,3] []`},
	{`{"$schema":"http://json-schema.org/draft-07/schema#","additionalItems":false,"items":{"type":"number"}}`, `[1,2] ["a"]`},
	{`{"$schema":"http://json-schema.org/draft-06/schema#","if":{"type":"string"},"then":false,"const":1}`, `1 "x"`},
	{`{"$schema":"http://json-schema.org/draft-04/schema#","id":"http://x.example/","minimum":1,"exclusiveMinimum":true,"maximum":3,"exclusiveMaximum":false,"const":7,"additionalProperties":false,"properties":{"a":{}}}`, `1 2 3 4 {"a":1} {"b":1}`},
}

// formats are asserted up to draft 7.
var formats = map[string]string{
	"date": `"2024-02-29" "2023-02-29" "2023-2-1" "x"`, "time": `"12:00:00Z" "23:59:60Z" "12:59:60Z" "00:29:60+00:30" "22:59:60-01:00" "12:00:00+24:00" "12:00:00" "12:00:00.Z" "12:00:00.5z"`,
	"date-time": `"2024-02-29T12:00:00Z" "2024-02-29t12:00:00.123+01:00" "2024-02-29 12:00:00Z" "1998-12-31T23:59:60Z"`,
	"duration":  `"P1Y2M3DT4H5M6S" "P" "PT" "P1W" "P1WT1H" "P1D1Y" "PT1D" "P1YT" "1Y" "PT1S" "P1" "P1.5D"`,
	"period":    `"2024-01-01T00:00:00Z/P1D" "P1D/2024-01-01T00:00:00Z" "2024-01-01T00:00:00Z/2024-01-02T00:00:00Z" "P1D/P1D" "x"`,
	"email":     `"a@b.c" "a@b" "@b" "a.@b" ".a@b" "a..b@c" "\"a b\"@c" "a@[127.0.0.1]" "a@[IPv6:::1]" "a@[::1]" "a b@c" "a"`,
	"hostname":  `"a.b-c.d" "-a" "a-" "a..b" "a." "" "a_b" "ü"`, "ipv4": `"1.2.3.4" "01.2.3.4" "1.2.3" "256.1.1.1" "1.2.3.4.5" "::1" "1.2.3.-4"`,
	"ipv6": `"::1" "fe80::1%eth0" "1.2.3.4" "::ffff:1.2.3.4" "1::2::3" "12345::"`, "uri": `"http://a/b?c#d" "a/b" "//a" "http://[::1]/" "http://[::1" "http://::1/" "urn:x:y" ":x"`,
	"uri-reference": `"a/b" "\\\\a" "#x" "http://[zz]/"`, "uri-template": `"http://a/{b}" "http://a/{b" "http://a/b}" "/{a}{b}" "/{{a}}" "a/b"`,
	"uuid":         `"2eb8aa08-aa98-11ea-b4aa-73b441d16380" "2EB8AA08-AA98-11EA-B4AA-73B441D16380" "2eb8aa08aa9811eab4aa73b441d16380" "2eb8aa08-aa98-11ea-b4ga-73b441d16380"`,
	"json-pointer": `"" "/a/b~0~1" "a" "/~" "/~2" "/~~0"`, "relative-json-pointer": `"0" "1/a" "01" "2#" "/a" "1a" "0#x"`,
	"semver": `"1.2.3" "1.2" "01.2.3" "1.2.3-a.1+b" "1.2.3-01" "1.2.3+" "1.2.3-" "1.2.x"`, "regex": `"^a+$" "(" ""`, "no-such": `"x"`,
}

func decode(t testing.TB, b []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}

func TestAsTheReference(t *testing.T) {
	check := func(t *testing.T, schema, values string) {
		t.Helper()
		mine, err := jsonschema.Compile(decode(t, []byte(schema)))
		if err != nil {
			t.Fatalf("%s: %v", schema, err)
		}
		theirs, err := compileReference(decode(t, []byte(schema)))
		if err != nil {
			t.Fatalf("%s: the reference: %v", schema, err)
		}
		d := json.NewDecoder(strings.NewReader(values))
		d.UseNumber()
		good, bad := 0, 0
		for d.More() {
			var v any
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			got, want := words(mine.Validate(v)), reasons(theirs.Validate(v))
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v: got %q, want %q", schema, v, got, want)
			}
			if len(want) == 0 {
				good++
			} else {
				bad++
			}
		}
		if good+bad == 0 {
			t.Errorf("%s: no value", schema)
		}
	}
	for _, c := range cases {
		check(t, c.schema, c.values)
	}
	for name, values := range formats {
		check(t, `{"$schema":"http://json-schema.org/draft-07/schema#","format":"`+name+`"}`, values+" 1 null")
	}
}

type nothing struct{}

func (nothing) Load(url string) (any, error) { return nil, fmt.Errorf("%s: nothing is loaded", url) }

func compileReference(doc any) (*reference.Schema, error) {
	c := reference.NewCompiler()
	c.DefaultDraft(reference.Draft2020)
	c.UseLoader(nothing{})
	if err := c.AddResource("kith:///schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("kith:///schema.json")
}

// words are the places and keywords of findings.
func words(found []jsonschema.Finding) (out []string) {
	for _, f := range found {
		keyword, _, _ := strings.Cut(f.Keyword, "/")
		out = append(out, strings.Join(f.At, "/")+" "+keyword)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reasons are those of the reference.
func reasons(err error) (out []string) {
	var failed *reference.ValidationError
	if !errors.As(err, &failed) {
		if err != nil {
			panic(err)
		}
		return nil
	}
	var walk func(e *reference.ValidationError)
	walk = func(e *reference.ValidationError) {
		var keyword string
		switch e.ErrorKind.(type) {
		case *kind.PropertyNames: // which goes on about the name as if it were the whole value
			out = append(out, strings.Join(e.InstanceLocation, "/")+" propertyNames")
			return
		case *kind.Not:
			keyword = "not"
		case *kind.RefCycle:
			keyword = "$ref"
		default:
			if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
				keyword = path[0]
			}
		}
		if len(e.Causes) == 0 {
			out = append(out, strings.Join(e.InstanceLocation, "/")+" "+keyword)
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	walk(failed)
	slices.Sort(out)
	return slices.Compact(out)
}

func TestRefused(t *testing.T) {
	deep := strings.Repeat(`{"not":`, 2000) + `{}` + strings.Repeat(`}`, 2000)
	if _, err := jsonschema.Compile(decode(t, []byte(deep))); err != nil {
		t.Errorf("a deep schema: %v", err)
	}
	for schema, want := range map[string]string{
		`7`:                                    "is no schema",
		`null`:                                 "is no schema",
		`{"type":"nothing"}`:                   `"/type": names something that is no type`,
		`{"type":[]}`:                          "no type",
		`{"type":["null","null"]}`:             "twice",
		`{"properties":{"a":{"minimum":"x"}}}`: `"/properties/a/minimum": is no number`,
		`{"properties":[]}`:                    "is no object",
		`{"minLength":-1}`:                     "from 0 on",
		`{"minLength":1.5}`:                    "from 0 on",
		`{"multipleOf":0}`:                     "above 0",
		`{"required":["a","a"]}`:               "different strings",
		`{"required":"a"}`:                     "different strings",
		`{"allOf":[]}`:                         "at least one",
		`{"allOf":[7]}`:                        `"/allOf/0": is no schema`,
		`{"items":[true]}`:                     "is no schema",
		`{"enum":1}`:                           "list of values",
		`{"uniqueItems":1}`:                    "neither true nor false",
		`{"pattern":"("}`:                      "missing closing",
		`{"patternProperties":{"(":true}}`:     "missing closing",
		`{"$ref":7}`:                           "is no string",
		`{"$ref":"#/nowhere"}`:                 "no such place",
		`{"$ref":"#nowhere"}`:                  "no anchor",
		`{"$ref":"#/items/1","items":true}`:    "no such place",
		`{"$ref":"http://x/y"}`:                "only references within it",
		`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`: "only references within it",
		`{"$ref":"%zz"}`:                              "is no reference",
		`{"$ref":"#/title","title":"x"}`:              "is no schema",
		`{"$schema":"https://example.org/x"}`:         "none of the drafts",
		`{"$schema":"ftp://json-schema.org/schema"}`:  "none of the drafts",
		`{"$schema":7}`:                               "is no string",
		`{"$id":"%zz"}`:                               "is no address",
		`{"$id":"http://x/#a"}`:                       "fragment",
		`{"$anchor":"1a"}`:                            "no name for an anchor",
		`{"allOf":[{"$id":"a"},{"$id":"a"}]}`:         "has the id of",
		`{"allOf":[{"$anchor":"a"},{"$anchor":"a"}]}`: "has the anchor of",
		`{"$schema":"http://json-schema.org/draft-04/schema#","not":true}`:              "draft 4",
		`{"$schema":"http://json-schema.org/draft-04/schema#","exclusiveMinimum":true}`: "without minimum",
		`{"$schema":"http://json-schema.org/draft-04/schema#","exclusiveMinimum":1}`:    "no number",
	} {
		if _, err := jsonschema.Compile(decode(t, []byte(schema))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", schema, err, want)
		}
	}
}

var huge = regexp.MustCompile(`[eE][+-]?[0-9]{4}`)

// FuzzAsTheReference: who accepts a schema as the reference does agrees with it about every value.
func FuzzAsTheReference(f *testing.F) {
	for _, c := range cases {
		for v := range strings.FieldsSeq(c.values) {
			f.Add([]byte(c.schema), []byte(v))
		}
	}
	for name, values := range formats {
		f.Add([]byte(`{"$schema":"http://json-schema.org/draft-07/schema#","format":"`+name+`"}`), []byte(values))
	}
	f.Fuzz(func(t *testing.T, schema, value []byte) {
		if len(schema) > 2000 || len(value) > 2000 || huge.Match(schema) || huge.Match(value) || !json.Valid(schema) || !json.Valid(value) {
			return
		}
		doc, v := decode(t, schema), decode(t, value)
		mine, err := jsonschema.Compile(doc)
		if err != nil {
			return
		}
		found := mine.Validate(v)
		theirs, err := compileReference(doc)
		if err != nil {
			return
		}
		if got, want := words(found), reasons(theirs.Validate(v)); (len(got) == 0) != (len(want) == 0) {
			t.Errorf("%s: %s: got %q, want %q", schema, value, got, want)
		}
	})
}
