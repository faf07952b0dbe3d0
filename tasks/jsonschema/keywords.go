package jsonschema

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// schema compiles one schema, once.
func (c *compiler) schema(at string, node any, of *resource) (*Schema, error) {
	if s := c.made[at]; s != nil {
		return s, nil
	}
	s := &Schema{
		of: of, maxProperties: -1, minContains: -1, maxContains: -1, maxItems: -1, maxLength: -1,
		dependencyWord: "dependentRequired", itemsWord: "items",
	}
	c.made[at] = s
	switch v := node.(type) {
	case bool:
		if s.always = -1; v {
			s.always = 1
		}
		if key := at[strings.LastIndexByte(at, '/')+1:]; of.draft == draft4 && key != "additionalProperties" && key != "additionalItems" {
			return nil, &placedError{at, errors.New("is no object, as draft 4 wants it")}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if !since(key, of.draft) {
				continue
			}
			if err := c.keyword(s, at, key, v[key], v); err != nil {
				if placed := (*placedError)(nil); !errors.As(err, &placed) { // the innermost place says most
					err = &placedError{at + "/" + escape(key), err}
				}
				return nil, err
			}
		}
		if of.draft < draft2019 && s.ref != nil { // nothing stands beside a reference
			*s = Schema{of: of, ref: s.ref}
		}
	default:
		return nil, &placedError{at, errSchema}
	}
	return s, nil
}

// keyword takes in one keyword of the schema obj.
func (c *compiler) keyword(s *Schema, at, key string, v any, obj map[string]any) (err error) {
	at += "/" + escape(key)
	draft := s.of.draft
	switch key {
	case "$schema", "$comment", "title", "description", "contentMediaType", "contentEncoding":
		_, err = text(v)
	case "$id", "id":
		var name string
		if name, err = text(v); err == nil && draft >= draft2019 && strings.TrimSuffix(name, "#") != "" && strings.Contains(strings.TrimSuffix(name, "#"), "#") {
			err = errors.New("has a fragment; anchors have their own keyword")
		}
	case "$anchor":
		err = anchor(v)
	case "$dynamicAnchor":
		if err = anchor(v); err == nil {
			s.dynamicAnchor = v.(string)
		}
	case "$recursiveAnchor":
		s.recursiveAnchor, err = boolean(v)
	case "readOnly", "writeOnly", "deprecated":
		_, err = boolean(v)
	case "examples":
		if _, ok := v.([]any); !ok {
			err = errors.New("is no list")
		}
	case "$vocabulary":
		if _, ok := v.(map[string]any); !ok {
			err = errObject
		}
	case "$ref":
		s.ref, err = c.reference(v, s.of)
	case "$recursiveRef":
		s.recursiveRef, err = c.reference(v, s.of)
	case "$dynamicRef":
		if s.dynamicRef, err = c.reference(v, s.of); err == nil {
			_, s.dynamicName, _ = strings.Cut(v.(string), "#")
		}
	case "definitions", "$defs":
		_, err = c.named(at, v, s.of)
	case "type":
		s.types, err = typeSet(v)
	case "enum":
		list, ok := v.([]any)
		if !ok || draft == draft4 && len(list) == 0 {
			return errors.New("is no list of values")
		}
		s.enum, s.isEnum = list, true
	case "const":
		s.constant, s.isConst = v, true
	case "format":
		if s.named, err = text(v); err == nil && draft < draft2019 {
			s.format = format(s.named)
		}
	case "allOf":
		s.all, err = c.list(at, v, s.of)
	case "anyOf":
		s.any, err = c.list(at, v, s.of)
	case "oneOf":
		s.one, err = c.list(at, v, s.of)
	case "not":
		s.not, err = c.one(at, v, s.of)
	case "if":
		s.when, err = c.one(at, v, s.of)
	case "then":
		s.then, err = c.one(at, v, s.of)
	case "else":
		s.otherwise, err = c.one(at, v, s.of)
	case "contentSchema":
		_, err = c.one(at, v, s.of)
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf":
		err = s.number(key, v, obj)
	case "pattern":
		var expr string
		if expr, err = text(v); err == nil {
			s.pattern, err = regexp.Compile(expr)
		}
	case "minLength":
		s.minLength, err = count(v)
	case "maxLength":
		s.maxLength, err = count(v)
	default:
		return c.container(s, at, key, v, obj)
	}
	return err
}

// container takes in one of the keywords about objects and arrays.
func (c *compiler) container(s *Schema, at, key string, v any, obj map[string]any) (err error) {
	draft := s.of.draft
	switch key {
	case "properties":
		s.properties, err = c.named(at, v, s.of)
	case "patternProperties":
		var m map[string]*Schema
		if m, err = c.named(at, v, s.of); err != nil {
			return err
		}
		for _, expr := range slices.Sorted(maps.Keys(m)) {
			re, err := regexp.Compile(expr)
			if err != nil {
				return err
			}
			s.patterns = append(s.patterns, pattern{re, m[expr]})
		}
	case "additionalProperties":
		s.additionalProperties, err = c.one(at, v, s.of)
	case "propertyNames":
		s.propertyNames, err = c.one(at, v, s.of)
	case "required":
		if s.required, err = names(v); err == nil && draft == draft4 && len(s.required) == 0 {
			err = errNames
		}
	case "minProperties":
		s.minProperties, err = count(v)
	case "maxProperties":
		s.maxProperties, err = count(v)
	case "dependentSchemas":
		s.dependent, err = c.named(at, v, s.of)
	case "dependentRequired", "dependencies":
		m, ok := v.(map[string]any)
		if !ok {
			return errObject
		}
		if key == "dependencies" {
			s.dependencyWord = "dependency"
		}
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if _, ok := m[name].([]any); ok || key == "dependentRequired" {
				list, err := names(m[name])
				if err != nil {
					return err
				}
				if s.dependentRequired == nil {
					s.dependentRequired = map[string][]string{}
				}
				s.dependentRequired[name] = list
				continue
			}
			sub, err := c.one(at+"/"+escape(name), m[name], s.of)
			if err != nil {
				return err
			}
			if s.dependent == nil {
				s.dependent = map[string]*Schema{}
			}
			s.dependent[name] = sub
		}
	case "prefixItems":
		s.prefix, err = c.list(at, v, s.of)
	case "items":
		if _, ok := v.([]any); ok && draft < draft2020 {
			s.prefix, err = c.list(at, v, s.of)
		} else {
			s.items, err = c.one(at, v, s.of)
		}
	case "additionalItems":
		sub, err := c.one(at, v, s.of)
		if _, ok := obj["items"].([]any); err != nil || !ok {
			return err
		}
		s.items, s.itemsWord = sub, key
	case "contains":
		s.contains, err = c.one(at, v, s.of)
	case "minContains":
		s.minContains, err = count(v)
	case "maxContains":
		s.maxContains, err = count(v)
	case "minItems":
		s.minItems, err = count(v)
	case "maxItems":
		s.maxItems, err = count(v)
	case "uniqueItems":
		s.unique, err = boolean(v)
	case "unevaluatedProperties":
		c.tracks = true
		s.unevaluated, err = c.one(at, v, s.of)
	case "unevaluatedItems":
		c.tracks = true
		s.unevaluatedItem, err = c.one(at, v, s.of)
	}
	return err
}

// number takes in one of the keywords about numbers. In draft 4 the exclusive ones say how the others are meant.
func (s *Schema) number(key string, v any, obj map[string]any) error {
	if strict, ok := v.(bool); ok && s.of.draft == draft4 && strings.HasPrefix(key, "exclusive") {
		of := strings.ToLower(key[len("exclusive"):])
		n, ok := obj[of].(json.Number)
		switch {
		case !ok:
			return fmt.Errorf("stands without %s", of)
		case !strict:
		case of == "minimum":
			s.above = rat(n)
		default:
			s.below = rat(n)
		}
		return nil
	}
	n, ok := v.(json.Number)
	if !ok || s.of.draft == draft4 && strings.HasPrefix(key, "exclusive") {
		return errNumber
	}
	r := rat(n)
	switch key {
	case "minimum":
		s.minimum = r
		if strict, _ := obj["exclusiveMinimum"].(bool); strict && s.of.draft == draft4 {
			s.minimum = nil
		}
	case "maximum":
		s.maximum = r
		if strict, _ := obj["exclusiveMaximum"].(bool); strict && s.of.draft == draft4 {
			s.maximum = nil
		}
	case "exclusiveMinimum":
		s.above = r
	case "exclusiveMaximum":
		s.below = r
	case "multipleOf":
		if r.Sign() <= 0 {
			return errors.New("is not above 0")
		}
		s.factor = r
	}
	return nil
}

// one compiles the schema of a keyword.
func (c *compiler) one(at string, v any, of *resource) (*Schema, error) {
	return c.schema(at, v, of.inside(c, at))
}

// inside is the resource that a place below belongs to.
func (r *resource) inside(c *compiler, at string) *resource {
	if own, ok := c.byPointer[at]; ok {
		return own
	}
	return r
}

func (c *compiler) list(at string, v any, of *resource) ([]*Schema, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, errSchemas
	}
	out := make([]*Schema, len(list))
	for i := range list {
		var err error
		if out[i], err = c.one(fmt.Sprintf("%s/%d", at, i), list[i], of); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *compiler) named(at string, v any, of *resource) (map[string]*Schema, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errObject
	}
	out := make(map[string]*Schema, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		var err error
		if out[name], err = c.one(at+"/"+escape(name), m[name], of); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *compiler) reference(v any, of *resource) (*Schema, error) {
	ref, err := text(v)
	if err != nil {
		return nil, err
	}
	return c.resolve(ref, of)
}
