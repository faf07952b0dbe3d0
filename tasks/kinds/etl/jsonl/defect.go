package jsonl

import (
	"fmt"
	"strings"
)

// Defect names one repairable fault.
type Defect uint8

// The defects, in the order of the package comment.
const (
	BOM Defect = iota
	CRLF
	BlankLine
	TrailingComma
	SingleQuotes
	PythonLiteral
	ControlCharacter
	InvalidUTF8
	DuplicateKey
	Truncated
	defectCount
)

var defectNames = [defectCount]string{
	"bom", "crlf", "blank-line", "trailing-comma", "single-quotes", "python-literal", "control-character",
	"invalid-utf8", "duplicate-key", "truncated",
}

// String returns the name used in parameters and listings.
func (d Defect) String() string { return defectNames[d] }

// Defects is a set of defects.
type Defects uint16

// AllDefects holds every defect.
const AllDefects Defects = 1<<defectCount - 1

// Has reports whether d is in the set.
func (s Defects) Has(d Defect) bool { return s&(1<<d) != 0 }

// Names returns the names of the set in the order of the package comment, never nil.
func (s Defects) Names() []string {
	names := []string{}
	for d := range defectCount {
		if s.Has(d) {
			names = append(names, d.String())
		}
	}
	return names
}

func parseDefects(names []string) (Defects, error) {
	var s Defects
next:
	for _, name := range names {
		for d := range defectCount {
			if d.String() == name {
				s |= 1 << d
				continue next
			}
		}
		return 0, fmt.Errorf("%.40q is not a defect; known: %s", name, strings.Join(defectNames[:], ", "))
	}
	return s, nil
}

// Code says why a line is quarantined. The name of a defect that may not be repaired is a code too.
type Code string

// The codes of faults that are not repairable.
const (
	UnexpectedByte   Code = "unexpected-byte"     // a byte that cannot stand there
	BadEscape        Code = "bad-escape"          // an escape JSON does not know
	BadNumber        Code = "bad-number"          // not a JSON number
	BadLiteral       Code = "bad-literal"         // a word that is not true, false or null
	ExtraData        Code = "extra-data"          // something follows the value
	Incomplete       Code = "incomplete"          // the text ends too early and how it went on is not certain
	TooDeep          Code = "too-deep"            // nested deeper than MaxDepth
	TooLong          Code = "too-long"            // over the line limit
	TooManyChanges   Code = "too-many-changes"    // more than MaxChanges repairs
	TooManyMembers   Code = "too-many-members"    // more than MaxMembers names
	UTF16            Code = "utf-16"              // the document is UTF-16, not UTF-8
	SchemaMismatch   Code = "schema"              // valid JSON, but not what the schema wants
	TooMuchForSchema Code = "too-much-for-schema" // too many values, or a number too long, to be checked safely
	SegmentBorder    Code = "segment-border"      // the document is a piece of a larger file and the line crosses its border
)

// Reason is one cause of a quarantine.
type Reason struct {
	Code   Code   `json:"code"`
	Col    int    `json:"col,omitempty"`    // byte column in the line, from 1; 0: the line as a whole
	At     string `json:"at,omitempty"`     // schema: JSON pointer to the offending value
	Detail string `json:"detail,omitempty"` // for people
}

// Limits of one line.
const (
	MaxDepth   = 512     // nesting of arrays and objects
	MaxChanges = 4096    // repairs
	MaxMembers = 1 << 20 // names in the objects that are open at one place
)
