package ipc

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

// checkText compares with encoding/json, the slow twin.
func checkText(t *testing.T, quoted string) {
	t.Helper()
	var want string
	if err := json.Unmarshal([]byte(quoted), &want); err != nil {
		return
	}
	got := appendText(make([]byte, 0, textBytes([]byte(quoted))), []byte(quoted))
	if string(got) != want || cap(got) != len(want) {
		t.Errorf("%q says %q (%d bytes), not %q", quoted, got, textBytes([]byte(quoted)), want)
	}
}

func TestATextIsReadAsEncodingJSONReadsIt(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	parts := []string{
		"a", "ü", "🌲", `\n`, `\/`, `\"`, `\\`, `\b\f\r\t`, `\u0000`, `\u00e9`, `\uFFFF`, `\ud83c\udf32`, `\ud83c`, `\udf32`,
		`\ud83cx`, `\ud83c\u0041`, `\ud83c\n`, "\xff", "\xf0\x9f", "\xed\xa0\x80",
	}
	for range 20_000 {
		text := ""
		for range random.IntN(6) {
			text += parts[random.IntN(len(parts))]
		}
		checkText(t, `"`+text+`"`)
	}
}

func FuzzText(f *testing.F) {
	f.Add(`"\ud83c\udf32"`)
	f.Fuzz(func(t *testing.T, quoted string) {
		if len(quoted) >= 2 && quoted[0] == '"' && json.Valid([]byte(quoted)) {
			// What surrounds a value is no part of it.
			if quoted[len(quoted)-1] == '"' {
				checkText(t, quoted)
			}
		}
	})
}
