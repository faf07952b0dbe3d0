package jsonschema

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// types is a set of types.
type types uint8

const (
	isNull types = 1 << iota
	isBool
	isNumber
	isInteger
	isString
	isArray
	isObject
)

var typeNames = [...]string{"null", "boolean", "number", "integer", "string", "array", "object"}

func typeOf(v any) types {
	switch v.(type) {
	case nil:
		return isNull
	case bool:
		return isBool
	case json.Number:
		return isNumber
	case string:
		return isString
	case []any:
		return isArray
	case map[string]any:
		return isObject
	}
	return 0
}

func (t types) String() string {
	var names []string
	for i, name := range typeNames {
		if t&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

// rat is the exact value of a number. Whoever decodes must have bounded its exponent.
func rat(n json.Number) *big.Rat {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return new(big.Rat)
	}
	return r
}

// isWhole reports whether a value is a whole number, however it is written.
func isWhole(v any) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	return !strings.ContainsAny(string(n), ".eE") || rat(n).IsInt()
}

// equal compares two values as JSON does: numbers by value, members in any order.
func equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && (a == b || rat(a).Cmp(rat(b)) == 0)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	case nil:
		return b == nil
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case string:
		b, ok := b.(string)
		return ok && a == b
	}
	return false
}

// twins finds the first item that equals one before it, and that one; 0, 0: none does.
func twins(a []any) (i, j int) {
	seen := map[string]int{}
	for j, v := range a {
		key := string(form(nil, v))
		if i, ok := seen[key]; ok {
			return i, j
		}
		seen[key] = j
	}
	return 0, 0
}

// form writes a value so that equal ones are written alike.
func form(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, 'n')
	case bool:
		return strconv.AppendBool(dst, v)
	case json.Number:
		return append(append(dst, '#'), rat(v).RatString()...)
	case string:
		return strconv.AppendQuote(dst, v)
	case []any:
		dst = append(dst, '[')
		for _, v := range v {
			dst = append(form(dst, v), ',')
		}
		return append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			dst = append(form(append(strconv.AppendQuote(dst, name), ':'), v[name]), ',')
		}
		return append(dst, '}')
	}
	return dst
}

// What a keyword's value is not.
var (
	errSchema  = errors.New("is no schema: neither an object nor true or false")
	errSchemas = errors.New("is no list of schemas with at least one")
	errObject  = errors.New("is no object")
	errString  = errors.New("is no string")
	errBool    = errors.New("is neither true nor false")
	errNumber  = errors.New("is no number")
	errCount   = errors.New("is no whole number from 0 on")
	errNames   = errors.New("is no list of different strings")
	errTypes   = errors.New("names something that is no type, or one twice")
	errAnchor  = errors.New("is no name for an anchor")
)

func text(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", errString
	}
	return s, nil
}

func boolean(v any) (bool, error) {
	b, ok := v.(bool)
	if !ok {
		return false, errBool
	}
	return b, nil
}

func count(v any) (int64, error) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, errCount
	}
	r := rat(n)
	if !r.IsInt() || r.Sign() < 0 {
		return 0, errCount
	}
	if !r.Num().IsInt64() {
		return math.MaxInt64, nil
	}
	return r.Num().Int64(), nil
}

func names(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, errNames
	}
	out := make([]string, 0, len(list))
	seen := map[string]bool{}
	for _, v := range list {
		s, ok := v.(string)
		if !ok || seen[s] {
			return nil, errNames
		}
		seen[s] = true
		out = append(out, s)
	}
	return out, nil
}

func typeSet(v any) (types, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var set types
	for _, v := range list {
		name, _ := v.(string)
		i := slices.Index(typeNames[:], name)
		if i < 0 || set&(1<<i) != 0 {
			return 0, errTypes
		}
		set |= 1 << i
	}
	if set == 0 {
		return 0, errTypes
	}
	return set, nil
}

func anchor(v any) error {
	s, err := text(v)
	if err != nil {
		return err
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '-' || r == '.')) {
			return errAnchor
		}
	}
	if s == "" {
		return errAnchor
	}
	return nil
}
