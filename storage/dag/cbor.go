package dag

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// ErrEncoding: the bytes are not strict, deterministic DAG-CBOR of the expected shape.
var ErrEncoding = errors.New("not strict DAG-CBOR")

var encMode, decMode = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.EncOptions{
		Sort:          cbor.SortLengthFirst, // the DAG-CBOR map order
		ShortestFloat: cbor.ShortestFloatNone,
		NaNConvert:    cbor.NaNConvertReject,
		InfConvert:    cbor.InfConvertReject,
		IndefLength:   cbor.IndefLengthForbidden,
		Time:          cbor.TimeUnix,
	}.EncMode()
	if err != nil {
		panic("BUG: DAG-CBOR encoding options: " + err.Error())
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		MaxNestedLevels:   16,
		MaxArrayElements:  1 << 20,
		MaxMapPairs:       1 << 16,
	}.DecMode()
	if err != nil {
		panic("BUG: DAG-CBOR decoding options: " + err.Error())
	}
	return enc, dec
}

// Marshal encodes v as deterministic DAG-CBOR: one value, one encoding.
func Marshal(v any) ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T as DAG-CBOR: %w", v, err)
	}
	return b, nil
}

// Unmarshal decodes strict DAG-CBOR into v, which must point to the zero value of its type. Unknown and doubled fields,
// indefinite lengths, non-minimal numbers, unsorted keys and trailing bytes are refused: whatever Unmarshal accepts,
// Marshal writes back byte for byte, so that a hash or a signature over the bytes is one over the value.
func Unmarshal(b []byte, v any) error {
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %T: %v", ErrEncoding, v, err)
	}
	again, err := encMode.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %T: %v", ErrEncoding, v, err)
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w: %T: not the canonical encoding", ErrEncoding, v)
	}
	return nil
}
