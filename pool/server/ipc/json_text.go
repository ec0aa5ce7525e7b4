package ipc

import (
	"encoding/hex"
	"unicode/utf16"
	"unicode/utf8"
)

// textBytes is how long the text is that a valid JSON string says, given with its quotes.
func textBytes(quoted []byte) int {
	inner := quoted[1 : len(quoted)-1]
	if isPlain(inner) {
		return len(inner)
	}
	length := 0
	for len(inner) > 0 {
		said, taken := nextRune(inner)
		length += utf8.RuneLen(said)
		inner = inner[taken:]
	}
	return length
}

// appendText appends the text that a valid JSON string says: as encoding/json reads it (RFC 8259, 7), but into memory that
// is there already.
func appendText(into, quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if isPlain(inner) {
		return append(into, inner...)
	}
	for len(inner) > 0 {
		said, taken := nextRune(inner)
		into = utf8.AppendRune(into, said)
		inner = inner[taken:]
	}
	return into
}

// isPlain tells whether a string says what it is, byte for byte.
func isPlain(inner []byte) bool {
	for _, character := range inner {
		if character == '\\' {
			return false
		}
	}
	return utf8.Valid(inner)
}

// shortEscapes are what one letter after the backslash stands for; any other letter but u stands for itself.
var shortEscapes = map[byte]rune{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicodeEscapeBytes is the length of \uXXXX.
const unicodeEscapeBytes = 6

// nextRune is what the front of a string says, and how many bytes say it. What is not UTF-8, or half a surrogate pair, is
// U+FFFD.
func nextRune(inner []byte) (said rune, taken int) {
	if inner[0] != '\\' {
		return utf8.DecodeRune(inner)
	}
	if inner[1] != 'u' {
		if escaped, ok := shortEscapes[inner[1]]; ok {
			return escaped, 2
		}
		return rune(inner[1]), 2
	}
	said = unicodeEscape(inner)
	if !utf16.IsSurrogate(said) {
		return said, unicodeEscapeBytes
	}
	if paired := utf16.DecodeRune(said, unicodeEscape(inner[unicodeEscapeBytes:])); paired != utf8.RuneError {
		return paired, 2 * unicodeEscapeBytes
	}
	return utf8.RuneError, unicodeEscapeBytes
}

// unicodeEscape is the code unit of \uXXXX at the front; U+FFFD where there is none.
func unicodeEscape(inner []byte) rune {
	var unit [2]byte
	if len(inner) < unicodeEscapeBytes || inner[0] != '\\' || inner[1] != 'u' {
		return utf8.RuneError
	}
	if _, err := hex.Decode(unit[:], inner[2:unicodeEscapeBytes]); err != nil {
		return utf8.RuneError
	}
	return rune(unit[0])<<8 | rune(unit[1])
}
