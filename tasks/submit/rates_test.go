package submit

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

func someRates(kinds, each int) map[[32]byte]rates {
	m := map[[32]byte]rates{}
	for i := range kinds {
		m[[32]byte{byte(i), byte(i >> 8)}] = slices.Repeat(rates{1 << 40}, each)
	}
	return m
}

func TestRatesFile(t *testing.T) {
	full := someRates(maxRated, keptRates)
	got, err := decodeRates(encodeRates(full))
	if err != nil || !maps.EqualFunc(got, full, slices.Equal[rates]) {
		t.Errorf("%d kinds of work: %v", len(got), err)
	}
	good := encodeRates(someRates(1, 1))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":           {nil, "0 bytes"},
		"the future":        {append([]byte{ratesVersion + 1}, good[1:]...), "version 2, this program knows 1"},
		"cut off":           {good[:len(good)-1], ""},
		"more behind":       {append(bytes.Clone(good), 0), ""},
		"too long":          {make([]byte, mostRates+1), "bytes"},
		"too many kinds":    {encodeRates(someRates(maxRated+1, 1)), "257 kinds of work"},
		"too many of one":   {encodeRates(someRates(1, keptRates+1)), "65 rates"},
		"slower than never": {encodeRates(map[[32]byte]rates{{}: {0}}), "below 1"},
	} {
		if _, err := decodeRates(c.data); !errors.Is(err, ErrRates) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRates(f *testing.F) {
	f.Add(encodeRates(someRates(3, 2)))
	f.Add([]byte{ratesVersion, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeRates(b)
		if err != nil {
			return
		}
		if again, err := decodeRates(encodeRates(m)); err != nil || !maps.EqualFunc(again, m, slices.Equal[rates]) {
			t.Errorf("%v, then %v: %v", m, again, err)
		}
	})
}
