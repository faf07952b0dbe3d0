package jsonschema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Finding is one reason for which a value does not match.
type Finding struct {
	At      []string // the way to what it is about: names of members and numbers of items
	Keyword string   // that is not satisfied; empty: the schema false
	Detail  string   // may be empty, and of any length: it may hold names out of the value
}

// Validate returns why a value, decoded with its numbers as json.Number whose exponents somebody has bounded, does not
// match; none if it does. The order of the findings varies, the set does not.
func (s *Schema) Validate(v any) []Finding {
	r := &validation{tracks: s.annotationsCount}
	r.check(s, v, &scope{s: s}, false)
	return r.found
}

// validation is one value being validated.
type validation struct {
	tracks bool // what is evaluated matters
	at     []string
	found  []Finding
}

// scope is a schema at work, in those that led to it.
type scope struct {
	s     *Schema
	depth int // of the value it is about
	from  *scope
}

// evaluated are the members and items of one value that schemas had a say about. A nil map or slice: none.
type evaluated struct {
	members map[string]bool
	items   map[int]bool
}

func (e *evaluated) member(name string) {
	if e.members == nil {
		e.members = map[string]bool{}
	}
	e.members[name] = true
}

func (e *evaluated) item(i int) {
	if e.items == nil {
		e.items = map[int]bool{}
	}
	e.items[i] = true
}

func (e *evaluated) add(o evaluated) {
	for name := range o.members {
		e.member(name)
	}
	for i := range o.items {
		e.item(i)
	}
}

// step is one schema being checked against one value.
type step struct {
	*validation
	s     *Schema
	v     any
	scope *scope
	quiet bool // nobody asks why
	ok    bool
	done  evaluated
}

// check reports whether v matches s, and what was evaluated on the way. Unless it is quiet it notes why not.
func (r *validation) check(s *Schema, v any, sc *scope, quiet bool) (bool, evaluated) {
	t := step{validation: r, s: s, v: v, scope: sc, quiet: quiet, ok: true}
	switch {
	case s.always < 0:
		t.fail("", "")
		return false, t.done
	case s.always > 0:
		return true, t.done
	}
	for up := sc.from; up != nil && up.depth == sc.depth; up = up.from {
		if up.s == s {
			t.fail("$ref", "leads back to itself")
			return false, t.done
		}
	}
	t.run()
	return t.ok, t.done
}

// fail notes why.
func (t *step) fail(keyword, detail string) {
	t.ok = false
	if !t.quiet {
		t.found = append(t.found, Finding{slices.Clone(t.at), keyword, detail})
	}
}

// same checks another schema against the same value, and takes over what it has evaluated.
func (t *step) same(s *Schema, quiet bool) bool {
	ok, done := t.check(s, t.v, &scope{s: s, depth: t.scope.depth, from: t.scope}, t.quiet || quiet)
	if ok && t.tracks {
		t.done.add(done)
	}
	return ok
}

// below checks a schema against a part of the value.
func (t *step) below(s *Schema, v any, token string) bool {
	t.at = append(t.at, token)
	ok, _ := t.check(s, v, &scope{s: s, depth: t.scope.depth + 1, from: t.scope}, t.quiet)
	t.at = t.at[:len(t.at)-1]
	return ok
}

func (t *step) need(ok bool) {
	if !ok {
		t.ok = false
	}
}

func (t *step) run() {
	s := t.s
	is := typeOf(t.v)
	switch {
	case s.types != 0 && s.types&is == 0 && !(s.types&isInteger != 0 && isWhole(t.v)):
		t.fail("type", fmt.Sprintf("got %s, want %s", is, s.types))
		return
	case s.isConst && !equal(t.v, s.constant):
		t.fail("const", "not an allowed value")
		return
	case s.isEnum && !slices.ContainsFunc(s.enum, func(v any) bool { return equal(t.v, v) }):
		t.fail("enum", "not an allowed value")
		return
	}
	if text, ok := t.v.(string); ok && s.format != nil && !s.format(text) {
		t.fail("format", "want "+s.named)
		return
	}
	if s.ref != nil {
		t.need(t.same(s.ref, false))
		if s.of.draft < draft2019 {
			return
		}
	}
	switch v := t.v.(type) {
	case map[string]any:
		t.object(v)
	case []any:
		t.array(v)
	case string:
		t.text(v)
	case json.Number:
		t.number(v)
	}
	if !t.ok && t.quiet {
		return
	}
	t.dynamic()
	t.logic()
	t.rest()
}

func (t *step) object(m map[string]any) {
	s := t.s
	if n := int64(len(m)); n < s.minProperties {
		t.fail("minProperties", got(n, s.minProperties))
	} else if s.maxProperties >= 0 && n > s.maxProperties {
		t.fail("maxProperties", got(n, s.maxProperties))
	}
	if missing := missing(m, s.required); missing != "" {
		t.fail("required", "missing "+missing)
	}
	var more []string
	for name, v := range m {
		if !t.ok && t.quiet {
			return
		}
		known := false
		if sub, ok := s.properties[name]; ok {
			known = true
			t.need(t.below(sub, v, name))
		}
		for _, p := range s.patterns {
			if p.re.MatchString(name) {
				known = true
				t.need(t.below(p.s, v, name))
			}
		}
		if a := s.additionalProperties; !known && a != nil {
			known = true
			if a.always < 0 {
				more = append(more, name)
			} else {
				t.need(t.below(a, v, name))
			}
		}
		if known && t.tracks {
			t.done.member(name)
		}
	}
	if len(more) > 0 {
		t.fail("additionalProperties", list(more))
	}
	for name, sub := range s.dependent {
		if _, ok := m[name]; ok {
			t.need(t.same(sub, false))
		}
	}
	for name, others := range s.dependentRequired {
		if _, ok := m[name]; ok {
			if missing := missing(m, others); missing != "" {
				t.fail(s.dependencyWord+"/"+name, "missing "+missing)
			}
		}
	}
	if s.propertyNames != nil {
		var bad []string
		for name := range m {
			if ok, _ := t.check(s.propertyNames, name, &scope{s: s.propertyNames, depth: t.scope.depth + 1, from: t.scope}, true); !ok {
				bad = append(bad, name)
			}
		}
		if len(bad) > 0 {
			t.fail("propertyNames", list(bad))
		}
	}
}

func (t *step) array(a []any) {
	s := t.s
	n := int64(len(a))
	if n < s.minItems {
		t.fail("minItems", got(n, s.minItems))
	} else if s.maxItems >= 0 && n > s.maxItems {
		t.fail("maxItems", got(n, s.maxItems))
	}
	if s.unique {
		if i, j := twins(a); j > 0 {
			t.fail("uniqueItems", fmt.Sprintf("%d and %d are equal", i, j))
		}
	}
	known := min(len(a), len(s.prefix))
	for i, v := range a[:known] {
		t.need(t.below(s.prefix[i], v, strconv.Itoa(i)))
	}
	if s.items != nil && known < len(a) {
		if s.items.always < 0 && s.itemsWord != "items" {
			t.fail(s.itemsWord, fmt.Sprintf("%d too many", len(a)-known))
		} else {
			for i, v := range a[known:] {
				t.need(t.below(s.items, v, strconv.Itoa(known+i)))
			}
		}
		known = len(a)
	}
	if t.tracks {
		for i := range known {
			t.done.item(i)
		}
	}
	if s.contains != nil {
		t.contain(a)
	}
}

func (t *step) contain(a []any) {
	s := t.s
	before, has := len(t.found), int64(0)
	for i, v := range a {
		was := len(t.found)
		if !t.below(s.contains, v, strconv.Itoa(i)) {
			continue
		}
		t.found = t.found[:was]
		has++
		if t.tracks && s.of.draft >= draft2020 {
			t.done.item(i)
		}
	}
	least, word := int64(1), "contains"
	if s.minContains >= 0 {
		least, word = s.minContains, "minContains"
	}
	switch {
	case has >= least:
		t.found = t.found[:before]
	case len(t.found) > before: // why those do not that might have
		t.ok = false
	default:
		t.fail(word, got(has, least))
	}
	if s.maxContains >= 0 && has > s.maxContains {
		t.fail("maxContains", got(has, s.maxContains))
	}
}

func (t *step) text(v string) {
	s := t.s
	if s.minLength > 0 || s.maxLength >= 0 {
		if n := int64(utf8.RuneCountInString(v)); n < s.minLength {
			t.fail("minLength", got(n, s.minLength))
		} else if s.maxLength >= 0 && n > s.maxLength {
			t.fail("maxLength", got(n, s.maxLength))
		}
	}
	if s.pattern != nil && !s.pattern.MatchString(v) {
		t.fail("pattern", "want "+s.pattern.String())
	}
}

func (t *step) number(v json.Number) {
	s := t.s
	if s.minimum == nil && s.maximum == nil && s.above == nil && s.below == nil && s.factor == nil {
		return
	}
	n := rat(v)
	for _, c := range [...]struct {
		word  string
		limit *big.Rat
		ok    func(cmp int) bool
	}{
		{"minimum", s.minimum, func(c int) bool { return c >= 0 }},
		{"maximum", s.maximum, func(c int) bool { return c <= 0 }},
		{"exclusiveMinimum", s.above, func(c int) bool { return c > 0 }},
		{"exclusiveMaximum", s.below, func(c int) bool { return c < 0 }},
	} {
		if c.limit != nil && !c.ok(n.Cmp(c.limit)) {
			t.fail(c.word, "")
		}
	}
	if s.factor != nil && !new(big.Rat).Quo(n, s.factor).IsInt() {
		t.fail("multipleOf", "")
	}
}

// dynamic follows the references whose meaning depends on the way that led here: to the outermost schema of that name.
func (t *step) dynamic() {
	if to := t.s.recursiveRef; to != nil {
		if to.recursiveAnchor {
			for up := t.scope; up != nil; up = up.from {
				if up.s.of.root.recursiveAnchor {
					to = up.s.of.root
				}
			}
		}
		t.need(t.same(to, false))
	}
	if to := t.s.dynamicRef; to != nil {
		if name := t.s.dynamicName; name != "" && to.dynamicAnchor == name {
			for up := t.scope; up != nil; up = up.from {
				if s := up.s.of.dynamic[name]; s != nil {
					to = s
				}
			}
		}
		t.need(t.same(to, false))
	}
}

func (t *step) logic() {
	s := t.s
	if s.not != nil {
		if ok, _ := t.check(s.not, t.v, &scope{s: s.not, depth: t.scope.depth, from: t.scope}, true); ok {
			t.fail("not", "")
		}
	}
	for _, sub := range s.all {
		t.need(t.same(sub, false))
	}
	if len(s.any) > 0 {
		before, ok := len(t.found), false
		for _, sub := range s.any {
			if ok = t.same(sub, false) || ok; ok && !t.tracks { // else all of them must have their say
				break
			}
		}
		if t.need(ok); ok {
			t.found = t.found[:before]
		}
	}
	if len(s.one) > 0 {
		before, matched := len(t.found), -1
		for i, sub := range s.one {
			if !t.same(sub, matched >= 0) {
				continue
			}
			t.found = t.found[:before]
			if matched >= 0 {
				t.fail("oneOf", fmt.Sprintf("%d and %d match", matched, i))
				break
			}
			matched = i
		}
		t.need(matched >= 0)
	}
	switch {
	case s.when == nil:
	case t.same(s.when, true):
		if s.then != nil {
			t.need(t.same(s.then, false))
		}
	case s.otherwise != nil:
		t.need(t.same(s.otherwise, false))
	}
}

// rest checks what no other schema had a say about.
func (t *step) rest() {
	s := t.s
	switch v := t.v.(type) {
	case map[string]any:
		if s.unevaluated == nil {
			return
		}
		for name, v := range v {
			if !t.done.members[name] {
				t.need(t.below(s.unevaluated, v, name))
				t.done.member(name)
			}
		}
	case []any:
		if s.unevaluatedItem == nil {
			return
		}
		for i, v := range v {
			if !t.done.items[i] {
				t.need(t.below(s.unevaluatedItem, v, strconv.Itoa(i)))
				t.done.item(i)
			}
		}
	}
}

func got(n, want int64) string { return fmt.Sprintf("got %d, want %d", n, want) }

func list(names []string) string {
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func missing(m map[string]any, names []string) string {
	var none []string
	for _, name := range names {
		if _, ok := m[name]; !ok {
			none = append(none, name)
		}
	}
	return list(none)
}
