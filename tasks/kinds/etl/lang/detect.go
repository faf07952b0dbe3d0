package lang

import "bytes"

// maxExamined is how much of a record is looked at, in bytes: languages do not need more.
const maxExamined = 4 << 10

// Tag returns the language of a record: the ISO 639-1 code of a natural language, CodePrefix with the name of a
// language of machines, or Undetermined. path is the name of the file it comes from; it may be empty.
func (d *Detector) Tag(path string, data []byte) string {
	data = data[:min(len(data), maxExamined)]
	if notText(data) {
		return Undetermined
	}
	if l := byName(path, data); l != "" {
		return CodePrefix + l
	}
	if !isProse(path) {
		if l := byContent(data); l != "" {
			return CodePrefix + l
		}
	}
	return d.Natural(data)
}

// notText reports whether data is no text: it has a zero byte, or more than one control character in sixteen bytes.
func notText(data []byte) bool {
	if bytes.IndexByte(data, 0) >= 0 {
		return true
	}
	controls := 0
	for _, c := range data {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' && c != '\f' && c != 0x1b {
			controls++
		}
	}
	return controls*16 > len(data)
}
