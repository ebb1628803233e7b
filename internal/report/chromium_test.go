package report

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"iopath/internal/atomicfile"
)

// A browser is a headless Chromium that does what its DevTools protocol asks
// (https://chromedevtools.github.io/devtools-protocol/), over a pipe: keys and
// clicks come in as a user's would.
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	last    int
	session string
	loaded  bool
	console []string // errors and messages of the page
}

// deadline is what a browser may take for all that a test asks, on a busy machine.
const deadline = 2 * time.Minute

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	// What it leaves behind may still be written to when it is dead, so this is no
	// t.TempDir.
	home, err := os.MkdirTemp("", "iopath-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	toRead, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, fromWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+home, "--window-size=1440,1000", "--remote-debugging-pipe", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	cmd.ExtraFiles = []*os.File{toRead, fromWrite}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	toRead.Close()
	fromWrite.Close()
	stop := time.AfterFunc(deadline, func() { cmd.Process.Kill() })
	b := &browser{t: t, to: to, from: bufio.NewReader(from)}
	t.Cleanup(func() {
		stop.Stop()
		to.Close() // which ends it
		from.Close()
		done := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		done.Stop()
		os.RemoveAll(home)
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// call asks for a method of the protocol, and takes its answer into result.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.last++
	request := map[string]any{"id": b.last, "method": method}
	if params != nil {
		request["params"] = params
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	text, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		id, answer := b.receive(method)
		if id != b.last {
			continue
		}
		if result != nil {
			if err := json.Unmarshal(answer, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// receive takes in one message: an answer, or an event.
func (b *browser) receive(waitingFor string) (id int, answer json.RawMessage) {
	b.t.Helper()
	text, err := b.from.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("%s: chromium is gone: %v", waitingFor, err)
	}
	var message struct {
		ID             int
		Method         string
		Params, Result json.RawMessage
		Error          *struct{ Message string }
	}
	if err := json.Unmarshal(text[:len(text)-1], &message); err != nil {
		b.t.Fatalf("%s: %v", waitingFor, err)
	}
	switch message.Method {
	case "Page.loadEventFired":
		b.loaded = true
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.console = append(b.console, string(message.Params))
	}
	if message.Error != nil {
		b.t.Fatalf("%s: %s", waitingFor, message.Error.Message)
	}
	return message.ID, message.Result
}

// open loads the page anew.
func (b *browser) open(path, fragment string) {
	b.t.Helper()
	for _, url := range []string{"about:blank", "file://" + path + fragment} {
		b.loaded = false
		b.call("Page.navigate", map[string]any{"url": url}, nil)
		for !b.loaded {
			b.receive("load " + url)
		}
	}
}

// eval returns what a JavaScript expression is, or a promise becomes, as text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, answer.ExceptionDetails)
	}
	return fmt.Sprint(answer.Result.Value)
}

// press strikes keys, one after the other.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}
	for _, key := range keys {
		params := map[string]any{"type": "keyDown", "key": key, "code": strings.ReplaceAll(key, " ", "Space"), "windowsVirtualKeyCode": codes[key]}
		switch key {
		case "Enter":
			params["text"] = "\r"
		case " ":
			params["text"] = " "
		}
		b.call("Input.dispatchKeyEvent", params, nil)
		params["type"] = "keyUp"
		delete(params, "text")
		b.call("Input.dispatchKeyEvent", params, nil)
	}
}

// click clicks into the middle of what a selector finds.
func (b *browser) click(selector string) {
	b.t.Helper()
	var at struct{ X, Y float64 }
	text := b.eval(fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.scrollIntoView({ block: "center" });
		const r = e.getBoundingClientRect();
		return JSON.stringify({ X: r.x + r.width / 2, Y: r.y + r.height / 2 });
	})()`, selector))
	if err := json.Unmarshal([]byte(text), &at); err != nil {
		b.t.Fatalf("click %s: %v", selector, err)
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

// want compares what an expression is with what it should be.
func (b *browser) want(expression, want string) {
	b.t.Helper()
	if got := b.eval(expression); got != want {
		b.t.Errorf("%s = %q, want %q", expression, got, want)
	}
}

// shown are the visible rows in their order, by benchmark, block and method.
const shown = `[...document.querySelectorAll("#cells tbody tr")].filter(r => r.getClientRects().length).map(r => [0, 5, 6].map(i => r.cells[i].textContent).join(" ").trim()).join(", ")`

const (
	counted = `document.getElementById("count").textContent`
	state   = `decodeURIComponent(location.hash)`
	// changes makes a promise that the page will have seen its address change.
	changes = `window.changed = new Promise(done => addEventListener("hashchange", () => done("yes"), { once: true })), 0`
)

// inOrder is how the table stands before anyone has touched it.
const inOrder = "Ceiling 4KiB, Ceiling 64KiB, Floor, Read 4KiB mmap, Read 4KiB pread, Read 64KiB mmap, Read 64KiB pread"

func TestInChromium(t *testing.T) {
	b := startBrowser(t)
	path := filepath.Join(t.TempDir(), "report.html")
	if err := atomicfile.WriteFile(path, example(t, madeUp()).HTML); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		fragment string
		do       func(b *browser)
	}{
		{"opens", "", func(b *browser) {
			b.want(`document.title`, "a_run")
			b.want(shown, inOrder)
			b.want(counted, "7 of 7 cells")
			b.want(`performance.getEntriesByType("resource").length`, "0")
			b.want(`document.querySelectorAll("figure svg use").length`, "6")
			b.want(`[...document.querySelectorAll("section > .charts use")].every(u => u.getBBox().width > 0)`, "true")
		}},
		{"a view from its address", "#method=mmap&sort=-block", func(b *browser) {
			b.want(shown, "Read 64KiB mmap, Read 4KiB mmap")
			b.want(counted, "2 of 7 cells")
			b.want(`document.querySelector("[data-param=method] select").value`, "mmap")
			b.want(`document.querySelector("[data-param=block]").ariaSort`, "descending")
			b.want(`document.querySelector("[data-param=what]").getClientRects().length`, "0") // none has it
		}},
		{"an address that somebody types", "#text=read+write%20unix", func(b *browser) {
			b.want(`document.querySelector("#cells input[type=search], main input[type=search]").value`, "read+write unix")
			b.want(counted, "0 of 7 cells")
		}},
		{"an address that changes", "#method=mmap", func(b *browser) {
			b.eval(changes)
			b.eval(`location.hash = "text=ceiling&units=sec/op"`)
			b.want(`changed`, "yes")
			b.want(shown, "Ceiling 4KiB, Ceiling 64KiB")
			b.want(`[...document.querySelectorAll("#cells th")].filter(c => c.getClientRects().length).at(-1).dataset.unit`, "sec/op")
		}},
		{"an address with nonsense", "#method=none&sort=none&units=none&x=y&text=", func(b *browser) {
			b.want(counted, "0 of 7 cells")
			b.open(path, "#method=&sort=&what")
			b.want(shown, inOrder)
		}},
		{"sorts by keys", "", func(b *browser) {
			b.eval(`document.querySelector("[data-unit='B/s'] button").focus()`)
			b.press("Enter") // the best comes first, what has no throughput last
			const fastest = "Read 4KiB mmap, Read 64KiB mmap, Read 64KiB pread, Read 4KiB pread"
			b.want(shown, "Ceiling 4KiB, Ceiling 64KiB, "+fastest+", Floor")
			b.want(`document.querySelector("[data-unit='B/s']").ariaSort`, "descending")
			b.want(state, "#sort=-B/s")
			b.press(" ")
			b.want(shown, "Read 4KiB pread, Read 64KiB pread, Read 4KiB mmap, Read 64KiB mmap, Ceiling 4KiB, Ceiling 64KiB, Floor")
			b.want(`document.querySelector("[data-unit='B/s']").ariaSort`, "ascending")
			b.want(state, "#sort=B/s")
			b.want(`document.activeElement.textContent`, "B/s")
		}},
		{"sorts sizes as sizes", "", func(b *browser) {
			b.click("[data-param=block] button")
			b.want(shown, "Ceiling 4KiB, Read 4KiB mmap, Read 4KiB pread, Ceiling 64KiB, Read 64KiB mmap, Read 64KiB pread, Floor")
			b.click("[data-param=block] button")
			b.want(shown, "Ceiling 64KiB, Read 64KiB mmap, Read 64KiB pread, Ceiling 4KiB, Read 4KiB mmap, Read 4KiB pread, Floor")
		}},
		{"filters by keys", "", func(b *browser) {
			b.eval(`document.querySelector("[data-param=method] select").focus()`)
			b.press("ArrowDown", "ArrowDown")
			b.want(shown, "Read 4KiB pread, Read 64KiB pread")
			b.want(counted, "2 of 7 cells")
			b.want(state, "#method=pread")
			b.click("#reset")
			b.want(shown, inOrder)
			b.want(state, "")
		}},
		{"filters by words", "", func(b *browser) {
			b.click("#text")
			b.call("Input.insertText", map[string]any{"text": "Read block=4kib"}, nil)
			b.want(shown, "Read 4KiB mmap, Read 4KiB pread")
			b.want(state, "#text=Read block=4kib")
		}},
		{"shows units", "", func(b *browser) {
			b.want(`document.querySelector("[data-unit='minflt/op']").getClientRects().length`, "1")
			b.click("#controls summary")
			b.eval(`[...document.querySelectorAll("#controls fieldset input")].at(-1).focus()`)
			b.press(" ")
			b.want(`document.querySelector("[data-unit='minflt/op']").getClientRects().length`, "0")
			b.want(`document.querySelector("#cells tbody td:last-child").getClientRects().length`, "0")
			b.want(state, "#units=B/s,sec/op,syscalls/op")
		}},
		{"light and dark", "", func(b *browser) {
			const ground = `getComputedStyle(document.body).backgroundColor`
			b.want(ground, "rgb(255, 255, 255)")
			b.eval(`document.getElementById("theme").focus()`)
			b.press("Enter")
			b.want(ground, "rgb(22, 24, 26)")
			b.want(`document.activeElement.textContent`, "Light page")
			b.press("Enter")
			b.want(ground, "rgb(255, 255, 255)")
			b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
			b.open(path, "")
			b.want(ground, "rgb(22, 24, 26)")
			b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{}}, nil)
		}},
		{"skips to the report", "", func(b *browser) {
			b.eval(changes)
			b.press("Tab")
			b.want(`document.activeElement.className + " " + (document.activeElement.getBoundingClientRect().left >= 0)`, "skip true")
			b.press("Enter")
			b.want(`changed`, "yes")
			b.want(`document.activeElement.id`, "main")
			b.want(counted, "7 of 7 cells") // a place in the page is no view
			b.want(`scrollY < document.getElementById("main").offsetTop + 1`, "true")
		}},
		{"a narrow screen", "", func(b *browser) {
			b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": false}, nil)
			b.want(`innerWidth`, "360")
			b.want(`document.documentElement.scrollWidth - document.documentElement.clientWidth`, "0")
			b.call("Emulation.clearDeviceMetricsOverride", nil, nil)
		}},
		{"on paper", "", func(b *browser) {
			b.want(`document.querySelector("details figure svg").checkVisibility()`, "false")
			b.call("Emulation.setEmulatedMedia", map[string]any{"media": "print"}, nil)
			b.want(`document.querySelector("details figure svg").checkVisibility()`, "true")
			b.want(`[...document.querySelectorAll("nav, #theme, select, #text, #reset")].filter(e => e.getClientRects().length).length`, "0")
			b.want(shown, inOrder)
			b.call("Emulation.setEmulatedMedia", map[string]any{"media": ""}, nil)
			// Browsers without that style are told by the script.
			const folded = `document.querySelectorAll("main section > details:not([open])").length`
			before := b.eval(folded)
			b.want(`dispatchEvent(new Event("beforeprint"))`, "true")
			b.want(folded, "0")
			b.want(`dispatchEvent(new Event("afterprint"))`, "true")
			b.want(folded, before)
		}},
		{"without JavaScript", "#method=mmap", func(b *browser) {
			b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
			b.open(path, "#method=mmap")
			b.want(shown, inOrder)
			b.want(`document.querySelectorAll("button, select, input").length`, "0")
			b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": false}, nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t, b.console = t, nil
			b.open(path, tt.fragment)
			tt.do(b)
			if len(b.console) > 0 {
				t.Errorf("the console says %s", b.console)
			}
		})
	}
	t.Run("prints", func(t *testing.T) { b.t = t; testPrint(t, b, path) })
	t.Run("prints a long table", func(t *testing.T) { b.t = t; testPrintLong(t, b) })
}

// print returns the words that the page has on paper, a form feed behind each sheet.
func (b *browser) print(path string) string {
	t := b.t
	t.Helper()
	b.open(path, "")
	var printed struct{ Data string }
	b.call("Page.printToPDF", map[string]any{"preferCSSPageSize": true}, &printed)
	pdf, err := base64.StdEncoding.DecodeString(printed.Data)
	if err != nil || !strings.HasPrefix(string(pdf), "%PDF-") {
		t.Fatalf("printed %.20q, %v; want a PDF", pdf, err)
	}
	if _, err := exec.LookPath("pdftotext"); err != nil {
		t.Skip("pdftotext is not installed")
	}
	cmd := exec.Command("pdftotext", "-layout", "-", "-")
	cmd.Stdin = strings.NewReader(string(pdf))
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func testPrint(t *testing.T, b *browser, path string) {
	text := b.print(path)
	words := regexp.MustCompile(`\s+`).ReplaceAllString(text, " ")
	for _, want := range []string{"Elsewhere there is no difference.", "TCP, 4 KiB sendfile 2 × read+write [1.9, 2.1]", "7 of 7 cells", "pread 6 8.99 GiB ± 2.5%", "tmpfs is never cold", "its sum is wrong", "iopath bench -profile quick"} {
		if !strings.Contains(words, want) {
			t.Errorf("what is printed lacks %q:\n%s", want, text)
		}
	}
}

// Each sheet of a long table has its heading.
func testPrintLong(t *testing.T, b *browser) {
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "BenchmarkLong/i=%d 1 %d ns/op\n", i, i+1)
	}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := atomicfile.WriteFile(path, example(t, many.String()).HTML); err != nil {
		t.Fatal(err)
	}
	sheets := 0
	for i, sheet := range strings.Split(b.print(path), "\f") {
		if !strings.Contains(sheet, "Long") {
			continue
		}
		if sheets++; !strings.Contains(sheet, "benchmark") || !strings.Contains(sheet, "sec/op") {
			t.Errorf("sheet %d has rows without a heading:\n%s", i+1, sheet)
		}
	}
	if sheets < 2 {
		t.Errorf("the table is on %d sheets, want several", sheets)
	}
}

func TestHostileInChromium(t *testing.T) {
	b := startBrowser(t)
	r := example(t, "BenchmarkX/k="+hostile+"/a\"b=\"'=7 1 5 ns/op 7 "+hostile+"/op\nBenchmarkX/k=1 1 6 ns/op\n")
	r.Name = hostile
	r.Findings = []string{hostile}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := atomicfile.WriteFile(path, r.HTML); err != nil {
		t.Fatal(err)
	}
	b.open(path, "")
	b.want(`document.title`, hostile)
	b.want(`document.querySelector("h1").textContent`, hostile)
	b.want(`document.querySelector(".findings li").textContent`, hostile)
	b.want(`document.images.length + " " + document.scripts.length`, "0 1")
	// The view of that name can be shared, too.
	b.eval(`document.querySelector("[data-param=k] select").focus()`)
	b.press("ArrowDown", "ArrowDown")
	b.want(counted, "1 of 2 cells")
	b.want(`document.querySelector("[data-param=k] select").value`, "<")
	b.call("Page.reload", nil, nil)
	for b.loaded = false; !b.loaded; {
		b.receive("reload")
	}
	b.want(counted, "1 of 2 cells")
	if len(b.console) > 0 {
		t.Errorf("the console says %s", b.console)
	}
}
