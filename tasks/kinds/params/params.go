// Package params decodes the parameters of kinds: strict JSON over defaults, and back to the one canonical form that
// enters a job's id.
package params

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"kith/tasks"
)

// MaxBytes bounds the parameters of one op.
const MaxBytes = 256 << 10

// Decode reads params, a JSON object or nothing, into the struct that into points to, which holds the defaults. Unknown
// fields, a second value and null are refused with tasks.ErrParams.
func Decode(params []byte, into any) error {
	if len(params) > MaxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", tasks.ErrParams, len(params), MaxBytes)
	}
	params = bytes.TrimSpace(params)
	if len(params) == 0 {
		return nil
	}
	if params[0] != '{' {
		return fmt.Errorf("%w: want a JSON object, got %.40q", tasks.ErrParams, params)
	}
	d := json.NewDecoder(bytes.NewReader(params))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %s", tasks.ErrParams, explain(err, into))
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: more than one JSON object", tasks.ErrParams)
	}
	return nil
}

// explain says in terms of the parameters what is wrong with them.
func explain(err error, into any) string {
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Sprintf("%s is a %s, want %s", wrong.Field, wrong.Value, nameOf(wrong.Type))
	case strings.Contains(err.Error(), "unknown field"): // encoding/json has no type for it
		return fmt.Sprintf("%s; there are: %s", strings.TrimPrefix(err.Error(), "json: "), strings.Join(names(reflect.TypeOf(into)), ", "))
	default:
		return err.Error()
	}
}

func nameOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint32:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

// names returns the names of the fields of the struct that t points to.
func names(t reflect.Type) (list []string) {
	for i := range t.Elem().NumField() {
		name, _, _ := strings.Cut(t.Elem().Field(i).Tag.Get("json"), ",")
		list = append(list, name)
	}
	return list
}

// Canonical writes params as JSON with every field, in the order of the struct.
func Canonical(params any) ([]byte, error) {
	b, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tasks.ErrParams, err)
	}
	return b, nil
}

// Range returns an error that names the field unless low ≤ value ≤ high.
func Range(field string, value, low, high int64) error {
	if value < low || value > high {
		return fmt.Errorf("%w: %s is %d, want %d to %d", tasks.ErrParams, field, value, low, high)
	}
	return nil
}
