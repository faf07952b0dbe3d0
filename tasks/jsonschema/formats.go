package jsonschema

import (
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// format is what a named format asserts of a string, nil for one that nobody knows.
func format(name string) func(string) bool {
	switch name {
	case "regex":
		return func(s string) bool { _, err := regexp.Compile(s); return err == nil }
	case "date":
		return isDate
	case "time":
		return isTime
	case "date-time":
		return isDateTime
	case "duration":
		return isDuration
	case "period":
		return isPeriod
	case "email":
		return isEmail
	case "hostname":
		return isHostname
	case "ipv4":
		return isIPv4
	case "ipv6":
		return isIPv6
	case "uri", "iri":
		return func(s string) bool { u, ok := address(s); return ok && u.IsAbs() }
	case "uri-reference", "iri-reference":
		return func(s string) bool { _, ok := address(s); return ok && !strings.Contains(s, `\`) }
	case "uri-template":
		return isTemplate
	case "uuid":
		return isUUID
	case "json-pointer":
		return isPointer
	case "relative-json-pointer":
		return isRelativePointer
	case "semver":
		return isVersion
	}
	return nil
}

// digits cuts the decimal digits off the front.
func digits(s string) (n, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	return s[:len(s)-len(rest)], rest
}

// made reports whether s consists of letters and digits of ASCII and of characters of more.
func made(s, more string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(more, r)) {
			return false
		}
	}
	return true
}

func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

// between parses two digits.
func between(s string, most int) (int, bool) {
	n, rest := digits(s)
	v, err := strconv.Atoi(n)
	return v, err == nil && rest == "" && len(s) == 2 && v <= most
}

// isTime knows leap seconds: one minute before midnight in UTC.
func isTime(s string) bool {
	if len(s) < 9 || s[2] != ':' || s[5] != ':' {
		return false
	}
	h, ok1 := between(s[:2], 23)
	m, ok2 := between(s[3:5], 59)
	sec, ok3 := between(s[6:8], 60)
	if s = s[8:]; strings.HasPrefix(s, ".") {
		var n string
		if n, s = digits(s[1:]); n == "" {
			return false
		}
	}
	if !ok1 || !ok2 || !ok3 {
		return false
	}
	at := h*60 + m
	if s != "z" && s != "Z" {
		if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' {
			return false
		}
		oh, ok1 := between(s[1:3], 23)
		om, ok2 := between(s[4:6], 59)
		if !ok1 || !ok2 {
			return false
		}
		if off := oh*60 + om; s[0] == '+' {
			at -= off
		} else {
			at += off
		}
	}
	const day = 24 * 60
	return sec < 60 || (at+day)%day == day-1
}

func isDateTime(s string) bool {
	return len(s) >= 20 && (s[10] == 't' || s[10] == 'T') && isDate(s[:10]) && isTime(s[11:])
}

// isDuration: weeks alone, or years to days and hours to seconds in this order.
func isDuration(s string) bool {
	s, ok := strings.CutPrefix(s, "P")
	if !ok || s == "" {
		return false
	}
	if n, ok := strings.CutSuffix(s, "W"); ok {
		d, rest := digits(n)
		return d != "" && rest == ""
	}
	days, hours, isTimed := strings.Cut(s, "T")
	for i, part := range [...]string{days, hours} {
		if i == 1 && isTimed == (part == "") {
			return false
		}
		for units := [...]string{"YMD", "HMS"}[i]; part != ""; {
			n, rest := digits(part)
			if n == "" || rest == "" {
				return false
			}
			_, after, ok := strings.Cut(units, rest[:1])
			if !ok {
				return false
			}
			units, part = after, rest[1:]
		}
	}
	return true
}

func isPeriod(s string) bool {
	from, to, ok := strings.Cut(s, "/")
	switch {
	case !ok:
		return false
	case strings.HasPrefix(from, "P"):
		return isDuration(from) && isDateTime(to)
	case strings.HasPrefix(to, "P"):
		return isDateTime(from) && isDuration(to)
	}
	return isDateTime(from) && isDateTime(to)
}

func isHostname(s string) bool {
	if s = strings.TrimSuffix(s, "."); len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || !made(label, "-") {
			return false
		}
	}
	return true
}

func isEmail(s string) bool {
	i := strings.LastIndexByte(s, '@')
	if i < 0 || i > 64 || len(s) > 254 {
		return false
	}
	local, domain := s[:i], s[i+1:]
	if len(local) > 1 && local[0] == '"' && local[len(local)-1] == '"' {
		if strings.ContainsAny(local[1:len(local)-1], `\"`) {
			return false
		}
	} else if strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") || !made(local, ".!#$%&'*+-/=?^_`{|}~") {
		return false
	}
	if in, ok := strings.CutPrefix(domain, "["); ok && strings.HasSuffix(in, "]") {
		in = strings.TrimSuffix(in, "]")
		if six, ok := strings.CutPrefix(in, "IPv6:"); ok {
			return isIPv6(six)
		}
		return isIPv4(in)
	}
	return isHostname(domain)
}

func isIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && strings.Contains(s, ":") && a.Zone() == ""
}

// address parses an absolute or relative address.
func address(s string) (*url.URL, bool) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, false
	}
	if host := u.Hostname(); strings.Contains(host, ":") && (!strings.HasPrefix(u.Host, "[") || !isIPv6(host)) {
		return nil, false
	}
	return u, true
}

// isTemplate: an address whose braces come in pairs in each part of its path.
func isTemplate(s string) bool {
	u, ok := address(s)
	if !ok {
		return false
	}
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		part, err := url.PathUnescape(part)
		if err != nil {
			return false
		}
		open := false
		for _, r := range part {
			if r != '{' && r != '}' {
				continue
			}
			if open == (r == '{') {
				return false
			}
			open = !open
		}
		if open {
			return false
		}
	}
	return true
}

func isUUID(s string) bool {
	groups := strings.Split(s, "-")
	if len(groups) != 5 {
		return false
	}
	for i, n := range [...]int{8, 4, 4, 4, 12} {
		if len(groups[i]) != n || strings.Trim(groups[i], "0123456789abcdefABCDEF") != "" {
			return false
		}
	}
	return true
}

func isPointer(s string) bool {
	if s != "" && s[0] != '/' {
		return false
	}
	for i, part := range strings.Split(s, "~") {
		if i > 0 && !strings.HasPrefix(part, "0") && !strings.HasPrefix(part, "1") {
			return false
		}
	}
	return true
}

func isRelativePointer(s string) bool {
	n, rest := digits(s)
	return n != "" && (n == "0" || n[0] != '0') && (rest == "#" || isPointer(rest))
}

func isVersion(s string) bool {
	s, build, ok := strings.Cut(s, "+")
	if ok && !identifiers(build, false) {
		return false
	}
	core, pre, ok := strings.Cut(s, "-")
	if ok && !identifiers(pre, true) {
		return false
	}
	parts := strings.Split(core, ".")
	for _, p := range parts {
		if n, rest := digits(p); n == "" || rest != "" || len(n) > 1 && n[0] == '0' {
			return false
		}
	}
	return len(parts) == 3
}

// identifiers are those of a version, divided by dots; strict: without zeros before numbers.
func identifiers(s string, strict bool) bool {
	for id := range strings.SplitSeq(s, ".") {
		n, rest := digits(id)
		if id == "" || !made(id, "-") || strict && rest == "" && len(n) > 1 && n[0] == '0' {
			return false
		}
	}
	return true
}
