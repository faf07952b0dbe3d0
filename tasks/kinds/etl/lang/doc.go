// Package lang is the kind etl.lang: it gives each record of a corpus the field "lang", which is
//
//   - an ISO 639-1 code, such as "en" or "ja", for text in one of 66 natural languages;
//   - "code:" and a name, such as "code:go" or "code:json", for source code, data and markup;
//   - "und" where that is not certain: too short, too mixed, no text at all, or two languages too close to call.
//
// At most the first 4 KiB of a record are looked at. The name of the file decides where it can ("main.go"); otherwise
// the text does, so that a script without extension is code and a letter in a .txt file is prose.
//
// Natural languages are told apart by their script and, where a script has several, by how likely letter triples and
// words are in each: a naive Bayes classifier over a table that the program in the folder train computes from the texts
// beside it (see NOTICE). Everything is done in integers: the same bytes give the same tag on every machine.
package lang
