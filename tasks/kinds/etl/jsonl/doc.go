// Package jsonl is the kind etl.jsonl: it turns JSON Lines files (or whole JSON documents) of unknown quality into
// records that are valid JSON and, if asked, valid against a JSON Schema.
//
// A valid line passes byte for byte. A line with a defect of the stated list gets the smallest repair, and every change
// is written down in "repairs.jsonl". Any other line goes to "quarantine.jsonl" with its number, offset, reasons and
// bytes. Nothing is guessed: where two repairs are possible the line is quarantined. Both files are reports of the corpus
// and stay with it through later steps; a second etl.jsonl in the same job calls its own "repairs-2.jsonl" and
// "quarantine-2.jsonl".
//
// The defects, by the names used in parameters and listings:
//
//	bom                a byte order mark before the first value is removed
//	crlf               carriage returns at the end of a line are removed
//	blank-line         a line of white space alone is dropped
//	trailing-comma     [1,] and {"a":1,} lose the comma, and so does a comma after the whole value
//	single-quotes      'text' becomes "text", and \' becomes '
//	python-literal     True, False and None become true, false and null
//	control-character  a raw control character inside a string becomes its escape
//	invalid-utf8       each byte inside a string that is not UTF-8 becomes U+FFFD
//	duplicate-key      of members with equal names the last is kept (or the first, or the line is quarantined)
//	truncated          a file's last line without a line end gets its missing brackets, if nothing else is missing
//
// A truncated line is completed only when its last token is certainly whole: a string, a literal or a bracket, never a
// number that might have had more digits, a name without a value, or a comma that promises more.
package jsonl
