package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	loginCodes = 16               // unused one-time codes kept at most; the oldest goes first
	loginLife  = 15 * time.Minute // of a one-time code
	cookieLife = 30 * 24 * time.Hour
)

// guard decides who may call.
type guard struct {
	token  string // of the command
	cookie string // of the page: derived from the token, so that the cookie is not the token
	port   int

	mu    sync.Mutex
	codes []loginCode
}

type loginCode struct {
	text string
	made time.Time
}

func newGuard(token string, port int) *guard {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("kith/page/1"))
	return &guard{token: token, cookie: hex.EncodeToString(mac.Sum(nil)), port: port}
}

// cookieName differs by port, because browsers share cookies between the ports of one host.
func (g *guard) cookieName() string { return "kith-" + strconv.Itoa(g.port) }

// hosts are the names by which this API may be called.
func (g *guard) ours(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil || port != strconv.Itoa(g.port) {
		return false
	}
	return name == "127.0.0.1" || name == "localhost" || name == "::1"
}

// admit checks Host and Origin, which no web site can forge, on every request.
func (g *guard) admit(r *http.Request) error {
	if !g.ours(r.Host) {
		return Refuse(CodeForbidden, "open the address that kith page prints", "this API does not answer for host %.100q", r.Host)
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		host, ok := strings.CutPrefix(origin, "http://")
		if !ok || !g.ours(host) {
			return Refuse(CodeForbidden, "open the address that kith page prints", "this API does not answer pages from %.100q", origin)
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" && (r.Method != http.MethodGet || r.URL.Path != "/") {
		return Refuse(CodeForbidden, "open the address that kith page prints", "this API does not answer requests from other sites")
	}
	return nil
}

// authorized reports whether the request carries the token or the cookie.
func (g *guard) authorized(r *http.Request) bool {
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return subtle.ConstantTimeCompare([]byte(bearer), []byte(g.token)) == 1
	}
	c, err := r.Cookie(g.cookieName())
	return err == nil && subtle.ConstantTimeCompare([]byte(c.Value), []byte(g.cookie)) == 1
}

// newLogin returns a path with a fresh one-time code that makes a browser ours.
func (g *guard) newLogin() string {
	code := rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.codes = append(g.codes, loginCode{code, time.Now()})
	if over := len(g.codes) - loginCodes; over > 0 {
		g.codes = g.codes[over:]
	}
	return "/?token=" + code
}

// login spends a one-time code and sets the cookie.
func (g *guard) login(w http.ResponseWriter, code string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, c := range g.codes {
		if subtle.ConstantTimeCompare([]byte(c.text), []byte(code)) != 1 {
			continue
		}
		g.codes = append(g.codes[:i:i], g.codes[i+1:]...)
		if time.Since(c.made) > loginLife {
			return false
		}
		http.SetCookie(w, &http.Cookie{
			Name: g.cookieName(), Value: g.cookie, Path: "/", MaxAge: int(cookieLife / time.Second),
			HttpOnly: true, SameSite: http.SameSiteStrictMode,
		})
		return true
	}
	return false
}

// strangerPage is what a browser without the cookie sees.
func strangerPage(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprint(w, `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Kith</title>`+
		`<style>body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em;color-scheme:light dark}</style>`+
		`<h1>Kith</h1><p>This page belongs to the owner of this machine. Open it with the address that <code>kith page</code> prints: it works once and then this browser is known.</p></html>`)
}
