package sandbox

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// logbook keeps the first lines a task says: sanitised, redacted, within a number of bytes.
type logbook struct {
	left  int64
	lines []string
	full  bool
}

const logCut = "… further lines were dropped: the log limit is reached"

// add keeps one line, or reports that there is no room for more.
func (l *logbook) add(line string) bool {
	if l.full {
		return false
	}
	line = redact(clean(cut(line, maxLogLine)))
	if l.left -= int64(len(line)) + 1; l.left < 0 {
		l.full = true
		l.lines = append(l.lines, logCut)
		return false
	}
	l.lines = append(l.lines, line)
	return true
}

// clean makes text safe for a terminal and a page: valid UTF-8 without control characters.
func clean(s string) string {
	ok := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= utf8.RuneSelf || s[i] == 0x7f {
			ok = false
			break
		}
	}
	if ok {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// secret matches what must not leave a machine in a log line even if a task prints it: private keys, tokens of well-known
// shapes, passwords in assignments and addresses.
var secret = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`-----BEGIN [A-Z ]*PRIVATE KEY-----.*`,
	`\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|AKIA|ASIA|AIza)[A-Za-z0-9_\-]{12,}`,
	`\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*`,
	`\b(?:bearer|basic)\s+[A-Za-z0-9+/_\-.=]{8,}`,
	`\b[a-z0-9_\-]*(?:passwo?rd|passwd|secret|token|api[_-]?key)["']?\s*[:=]\s*["']?[^\s"',;]{4,}`,
	`://[^/\s:@]+:[^/\s@]+@`,
}, "|"))

// hint is a cheap test that spares ordinary lines the expression.
func hint(s string) bool {
	lower := strings.ToLower(s)
	for _, word := range [...]string{"private key", "gh", "glpat", "xox", "sk-", "akia", "asia", "aiza", "eyj", "bearer", "basic", "passw", "secret", "token", "api", "://"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

func redact(s string) string {
	if !hint(s) {
		return s
	}
	return secret.ReplaceAllString(s, "[redacted]")
}
