// Package jsonschema validates JSON values against JSON Schemas of the drafts 4, 6, 7, 2019-09 and 2020-12, with all of
// their keywords but those for content. As the drafts have it, format asserts something up to draft 7, and is a remark from
// 2019-09 on. Nothing is ever loaded: a schema may refer to nothing outside itself, not even to the schemas of the drafts.
//
// It is here because the libraries that know these drafts and say where a value fails compile the drafts' own schemas in
// every program that contains them, as it starts: 4 ms for every task and every command. A test compares it with one.
package jsonschema

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The drafts, in their order.
const (
	draft4    = 4
	draft6    = 6
	draft7    = 7
	draft2019 = 2019
	draft2020 = 2020
)

// base is the address of a schema that names none itself. Nobody knows its scheme.
const base = "kith:///schema.json"

// Schema is a compiled schema. It is safe for concurrent use.
type Schema struct {
	of     *resource
	always int // 1: everything matches, -1: nothing does

	ref             *Schema
	recursiveRef    *Schema
	recursiveAnchor bool
	dynamicRef      *Schema
	dynamicName     string // of the anchor that the reference names
	dynamicAnchor   string

	types    types
	constant any
	isConst  bool
	enum     []any
	isEnum   bool
	format   func(string) bool // nil: it asserts nothing
	named    string            // the format's name

	properties           map[string]*Schema
	patterns             []pattern
	additionalProperties *Schema
	propertyNames        *Schema
	required             []string
	minProperties        int64
	maxProperties        int64 // negative: no limit
	dependent            map[string]*Schema
	dependentRequired    map[string][]string
	dependencyWord       string // what the draft calls the latter

	prefix          []*Schema
	items           *Schema // of those after prefix
	itemsWord       string  // what the draft calls the latter
	contains        *Schema
	minContains     int64 // negative: not said
	maxContains     int64
	minItems        int64
	maxItems        int64
	unique          bool
	unevaluated     *Schema // properties
	unevaluatedItem *Schema

	minLength, maxLength                   int64
	pattern                                *regexp.Regexp
	minimum, maximum, above, below, factor *big.Rat

	all, any, one    []*Schema
	not, when        *Schema
	then, otherwise  *Schema
	annotationsCount bool // somewhere in the whole schema it matters what was evaluated
}

type pattern struct {
	re *regexp.Regexp
	s  *Schema
}

// resource is a schema with an address of its own, and what lies in it.
type resource struct {
	url     *url.URL
	at      string // JSON pointer in the document
	draft   int
	root    *Schema
	anchors map[string]string // name → JSON pointer in the document
	dynamic map[string]*Schema
}

// place is a schema in the document.
type place struct {
	at   string
	node any
	of   *resource
}

type compiler struct {
	doc       any
	byURL     map[string]*resource
	byPointer map[string]*resource
	places    []place
	known     map[string]bool // of places
	made      map[string]*Schema
	tracks    bool
}

// Compile compiles a schema, decoded with its numbers as json.Number, of draft 2020-12 unless it names another.
func Compile(doc any) (*Schema, error) {
	c := &compiler{doc: doc, byURL: map[string]*resource{}, byPointer: map[string]*resource{}, known: map[string]bool{}, made: map[string]*Schema{}}
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if err := c.collect(doc, "", &resource{url: u, draft: draft2020}); err != nil {
		return nil, err
	}
	c.byURL[base] = c.byPointer[""]
	for i := 0; i < len(c.places); i++ { // which grow
		if _, err := c.schema(c.places[i].at, c.places[i].node, c.places[i].of); err != nil {
			return nil, err
		}
	}
	for _, r := range c.byPointer {
		for name := range r.dynamic {
			r.dynamic[name] = c.made[r.anchors[name]]
		}
		r.root = c.made[r.at]
	}
	root := c.made[""]
	root.annotationsCount = c.tracks
	return root, nil
}

// draftOf is the draft that $schema names.
func draftOf(name string) (int, error) {
	_, rest, ok := strings.Cut(strings.TrimSuffix(name, "#"), "://")
	if scheme := strings.TrimSuffix(strings.TrimSuffix(name, "#"), "://"+rest); ok && (scheme == "http" || scheme == "https") {
		switch rest {
		case "json-schema.org/schema", "json-schema.org/draft/2020-12/schema":
			return draft2020, nil
		case "json-schema.org/draft/2019-09/schema":
			return draft2019, nil
		case "json-schema.org/draft-07/schema":
			return draft7, nil
		case "json-schema.org/draft-06/schema":
			return draft6, nil
		case "json-schema.org/draft-04/schema":
			return draft4, nil
		}
	}
	return 0, fmt.Errorf("$schema: %.200q is none of the drafts 4, 6, 7, 2019-09 and 2020-12", name)
}

// identity is what a schema calls itself: the address and the anchor of its id.
func identity(obj map[string]any, draft int) (id, anchor string) {
	key := "$id"
	if draft == draft4 {
		key = "id"
	}
	name, _ := obj[key].(string)
	if _, ok := obj["$ref"]; ok && draft < draft2019 {
		return "", "" // nothing stands beside a reference
	}
	id, anchor, _ = strings.Cut(name, "#")
	return id, anchor
}

// collect finds the addresses and anchors of a schema and of all that lie in it.
func (c *compiler) collect(node any, at string, of *resource) error {
	if c.known[at] {
		return nil
	}
	c.known[at] = true
	obj, ok := node.(map[string]any)
	if !ok {
		if at == "" {
			c.byPointer[at] = of
		}
		c.places = append(c.places, place{at, node, of})
		return nil
	}
	draft := of.draft
	if name, ok := obj["$schema"].(string); ok {
		d, err := draftOf(name)
		if id, _ := identity(obj, d); at == "" || id != "" {
			if err != nil {
				return err
			}
			draft = d
		}
	}
	id, anchor := identity(obj, draft)
	if id != "" || at == "" {
		u, err := of.url.Parse(id)
		if err != nil {
			return fmt.Errorf("%s: its id is no address: %.200q", where(at), id)
		}
		of = &resource{url: u, at: at, draft: draft, anchors: map[string]string{}, dynamic: map[string]*Schema{}}
		if other, ok := c.byURL[u.String()]; ok {
			return fmt.Errorf("%s has the id of %s", where(at), where(other.at))
		}
		c.byURL[u.String()], c.byPointer[at] = of, of
	}
	c.places = append(c.places, place{at, node, of})
	names := []string{anchor}
	if draft >= draft2019 {
		name, _ := obj["$anchor"].(string)
		names = []string{name}
	}
	if name, _ := obj["$dynamicAnchor"].(string); name != "" && draft >= draft2020 {
		names, of.dynamic[name] = append(names, name), nil
	}
	for _, name := range names {
		if name == "" || strings.HasPrefix(name, "/") {
			continue
		}
		if other, ok := of.anchors[name]; ok && other != at {
			return fmt.Errorf("%s has the anchor of %s", where(at), where(other))
		}
		of.anchors[name] = at
	}
	return eachBelow(obj, at, draft, func(at string, node any) error { return c.collect(node, at, of) })
}

// eachBelow calls f for every schema right below one, in a fixed order.
func eachBelow(obj map[string]any, at string, draft int, f func(at string, node any) error) error {
	for _, key := range slices.Sorted(maps.Keys(obj)) {
		v, at := obj[key], at+"/"+escape(key)
		switch key {
		case "not", "additionalProperties", "additionalItems", "contains", "propertyNames", "if", "then", "else", "items",
			"unevaluatedProperties", "unevaluatedItems", "contentSchema", "allOf", "anyOf", "oneOf", "prefixItems":
			if !since(key, draft) {
				continue
			}
			list, ok := v.([]any)
			if !ok {
				if _, ok := v.(map[string]any); ok {
					if err := f(at, v); err != nil {
						return err
					}
				}
				continue
			}
			for i, v := range list {
				if err := f(at+"/"+strconv.Itoa(i), v); err != nil {
					return err
				}
			}
		case "properties", "patternProperties", "definitions", "dependencies", "$defs", "dependentSchemas":
			m, ok := v.(map[string]any)
			if !ok || !since(key, draft) {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(m)) {
				if _, ok := m[name].([]any); ok {
					continue // names, in dependencies
				}
				if err := f(at+"/"+escape(name), m[name]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// since reports whether a draft knows a keyword.
func since(key string, draft int) bool {
	switch key {
	case "const", "contains", "propertyNames", "examples", "$id":
		return draft >= draft6
	case "if", "then", "else", "$comment", "readOnly", "writeOnly", "contentMediaType", "contentEncoding":
		return draft >= draft7
	case "$anchor", "$defs", "dependentSchemas", "dependentRequired", "unevaluatedProperties", "unevaluatedItems", "minContains",
		"maxContains", "contentSchema", "deprecated", "$vocabulary":
		return draft >= draft2019
	case "$recursiveRef", "$recursiveAnchor":
		return draft == draft2019
	case "$dynamicRef", "$dynamicAnchor", "prefixItems":
		return draft >= draft2020
	case "additionalItems":
		return draft < draft2020
	case "id":
		return draft == draft4
	}
	return true
}

func escape(s string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(s) }

// placedError says where in the schema something is wrong.
type placedError struct {
	at  string
	err error
}

// Error implements error.
func (e *placedError) Error() string { return where(e.at) + ": " + e.err.Error() }

// Unwrap returns what is wrong.
func (e *placedError) Unwrap() error { return e.err }

// where names a place in the schema for an error.
func where(at string) string {
	if at == "" {
		return "the schema"
	}
	return fmt.Sprintf("%.200q", at)
}

var errPointer = errors.New("no such place in the schema")

// resolve finds what a reference in a resource means.
func (c *compiler) resolve(ref string, from *resource) (*Schema, error) {
	u, err := from.url.Parse(ref)
	if err != nil {
		return nil, fmt.Errorf("%.200q is no reference", ref)
	}
	fragment := u.Fragment
	u.Fragment, u.RawFragment = "", ""
	of := c.byURL[u.String()]
	switch {
	case of == nil:
		return nil, fmt.Errorf("%.200q is outside the schema; only references within it are allowed", u)
	case fragment == "" || strings.HasPrefix(fragment, "/"):
		return c.at(of.at+fragment, ref)
	}
	at, ok := of.anchors[fragment]
	if !ok {
		return nil, fmt.Errorf("%.200q: there is no anchor %.100q", ref, fragment)
	}
	return c.at(at, ref)
}

// at compiles the schema at a JSON pointer in the document, which the drafts need not know as a place for one.
func (c *compiler) at(at, ref string) (*Schema, error) {
	node, of := c.doc, c.byPointer[""]
	so := ""
	for _, token := range strings.Split(at, "/")[1:] {
		so += "/" + token
		name := strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch v := node.(type) {
		case map[string]any:
			next, ok := v[name]
			if !ok {
				return nil, fmt.Errorf("%.200q: %w", ref, errPointer)
			}
			node = next
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != name {
				return nil, fmt.Errorf("%.200q: %w", ref, errPointer)
			}
			node = v[i]
		default:
			return nil, fmt.Errorf("%.200q: %w", ref, errPointer)
		}
		if r, ok := c.byPointer[so]; ok {
			of = r
		}
	}
	if err := c.collect(node, at, of); err != nil {
		return nil, err
	}
	if r, ok := c.byPointer[at]; ok {
		of = r
	}
	return c.schema(at, node, of)
}
