package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"kith/node/strict"
)

// Field describes one setting.
type Field struct {
	Key     string   // dotted: "work.slots"
	Doc     string   // for people
	Type    string   // "text", "number", "size", "switch", "list", "choice", "ports", "rate", "span"
	Choices []string // of a choice or switch
	Range   string   // in words; empty if anything goes
	Live    bool     // takes effect without a restart
}

// field is a Field with its place in the struct and its limits.
type field struct {
	Field
	index    []int
	min, max Size
	least    Span
	most     Span
	machine  string // what of the machine bounds it: "cores", "memory", "disk", "vram" or nothing
	form     form
}

// table lists every setting in the order of the struct.
var table = fieldsOf(reflect.TypeFor[Config](), "", nil)

func fieldsOf(t reflect.Type, prefix string, index []int) []field {
	var out []field
	for sf := range t.Fields() {
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		at := append(append([]int(nil), index...), sf.Index...)
		if sf.Type.Kind() == reflect.Struct {
			out = append(out, fieldsOf(sf.Type, prefix+name+".", at)...)
			continue
		}
		if prefix+name == "version" {
			continue
		}
		f := field{Field: Field{Key: prefix + name, Doc: sf.Tag.Get("doc"), Live: sf.Tag.Get("live") == "yes"}, index: at}
		if sf.Type == reflect.TypeFor[Span]() {
			f.least, f.most = span(sf.Tag.Get("min")), span(sf.Tag.Get("max"))
		} else {
			f.min, f.max = limit(sf.Tag.Get("min")), limit(sf.Tag.Get("max"))
		}
		f.machine = sf.Tag.Get("machine")
		f.form = forms[sf.Tag.Get("form")]
		switch reflect.Zero(sf.Type).Interface().(type) {
		case Switch:
			f.Type, f.Choices = "switch", []string{string(On), string(Off)}
		case Ports:
			f.Type, f.Range = "ports", portsWords
		case Size:
			f.Type, f.Range = "size", fmt.Sprintf("%v to %v", f.min, f.max)
		case Rate:
			f.Type, f.Range = "rate", fmt.Sprintf("%v/s or more, or unlimited", f.min)
		case Span:
			f.Type, f.Range = "span", fmt.Sprintf("%v to %v", f.least, f.most)
			if f.most == Never {
				f.Range = fmt.Sprintf("%v or more, or never", f.least)
			}
		case int:
			f.Type, f.Range = "number", fmt.Sprintf("%d to %d", f.min, f.max)
		case []string:
			f.Type, f.Range = "list", f.form.words
		case string:
			f.Type, f.Range = "text", f.form.words
			if c := sf.Tag.Get("choices"); c != "" {
				f.Type, f.Choices = "choice", strings.Split(c, ",")
			}
		default:
			panic("BUG: setting " + f.Key + " has a type that fieldsOf does not know")
		}
		out = append(out, f)
	}
	return out
}

func limit(tag string) Size {
	if tag == "" {
		return 0
	}
	s, err := ParseSize(tag)
	if err != nil {
		panic("BUG: limit of a setting: " + err.Error())
	}
	return s
}

// span reads the limit of a span; none is never.
func span(tag string) Span {
	if tag == "" {
		return Never
	}
	s, err := ParseSpan(tag)
	if err != nil {
		panic("BUG: limit of a setting: " + err.Error())
	}
	return s
}

// Fields describes every setting, in the order of the reference.
func Fields() []Field {
	out := make([]Field, len(table))
	for i, f := range table {
		out[i] = f.Field
	}
	return out
}

// ErrUnknownKey: there is no setting of that name.
var ErrUnknownKey = errors.New("no such setting")

func lookup(key string) (field, error) {
	names := make([]string, len(table))
	for i, f := range table {
		if f.Key == key {
			return f, nil
		}
		names[i] = f.Key
	}
	if near := strict.Nearest(key, names); near != "" {
		return field{}, fmt.Errorf("%w: %.80q; did you mean %q?", ErrUnknownKey, key, near)
	}
	return field{}, fmt.Errorf("%w: %.80q; kith config list shows them all", ErrUnknownKey, key)
}

// Text returns the value of key as text; lists are joined by commas.
func (c Config) Text(key string) (string, error) {
	f, err := lookup(key)
	if err != nil {
		return "", err
	}
	return text(reflect.ValueOf(c).FieldByIndex(f.index)), nil
}

func text(v reflect.Value) string {
	if l, ok := v.Interface().([]string); ok {
		return strings.Join(l, ",")
	}
	return fmt.Sprint(v.Interface())
}

// SetText sets key from text; the empty text, or "default", sets the default again. It checks that the text has the
// right type; Validate checks the value.
func (c *Config) SetText(key, value string) error {
	f, err := lookup(key)
	if err != nil {
		return err
	}
	at := reflect.ValueOf(c).Elem().FieldByIndex(f.index)
	if value == "" || value == "default" {
		at.SetZero()
		return nil
	}
	refuse := func(want string) error { return &Error{key, value, "is not allowed", "allowed: " + want} }
	switch at.Interface().(type) {
	case int:
		n, err := strconv.Atoi(value)
		if err != nil {
			return refuse(f.Range)
		}
		if n == 0 && f.min > 0 {
			return refuse(f.Range) // nought would read as the default
		}
		at.SetInt(int64(n))
	case Rate:
		r, err := ParseRate(value)
		if err != nil || r == 0 {
			return refuse(f.Range)
		}
		at.SetInt(int64(r))
	case Span:
		d, err := ParseSpan(value)
		if err != nil || d == 0 {
			return refuse(f.Range)
		}
		at.SetInt(int64(d))
	case Size:
		s, err := ParseSize(value)
		if err != nil || s == 0 && f.min > 0 {
			return refuse(f.Range)
		}
		at.SetInt(int64(s))
	case Switch:
		switch strings.ToLower(value) {
		case "on", "true", "yes":
			at.SetString(string(On))
		case "off", "false", "no":
			at.SetString(string(Off))
		default:
			return refuse("on, off")
		}
	case []string:
		var list []string
		if strings.HasPrefix(value, "[") {
			if err := json.Unmarshal([]byte(value), &list); err != nil {
				return refuse("entries joined by commas, or a JSON list of texts")
			}
		} else {
			for s := range strings.SplitSeq(value, ",") {
				if s = strings.TrimSpace(s); s != "" {
					list = append(list, s)
				}
			}
		}
		at.Set(reflect.ValueOf(list))
	default:
		at.SetString(value)
	}
	if at.IsZero() {
		return nil
	}
	return f.check(at)
}

// Reference is the page of all settings in Markdown, made from the struct's tags and the table of defaults.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Settings\n\nOne JSON file, `config.json` in the data folder; what does not stand in it has its default.\n" +
		"Change one with `kith config set KEY VALUE`, take a change back with `kith config undo`.\n\n" +
		"| setting | default | allowed | at once | what it does |\n|---|---|---|---|---|\n")
	d := Defaults()
	for _, f := range table {
		allowed := f.Range
		if len(f.Choices) > 0 {
			allowed = strings.Join(f.Choices, ", ")
		}
		live := "at the next start"
		if f.Live {
			live = "yes"
		}
		value := text(reflect.ValueOf(d).FieldByIndex(f.index))
		if f.Key == "work.slots" || f.machine == "cores" {
			value = "number of cores"
		}
		if f.machine == "vram" {
			value = "all there is"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Key, value, allowed, live, f.Doc)
	}
	return b.String()
}
