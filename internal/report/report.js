// Sorts and filters the table of all cells. Go has rendered the rows; each cell
// has in data-v what it is sorted by. The state of a view is the fragment of the
// page's address, as in #method=mmap&sort=-B/s, so that it can be shared.
"use strict";
(() => {
	const make = (tag, attributes = {}, ...children) => {
		const e = Object.assign(document.createElement(tag), attributes);
		e.append(...children);
		return e;
	};

	// Light and dark: the system's choice, until the button is used.
	const root = document.documentElement;
	const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
	const theme = make("button", { id: "theme", type: "button" });
	const nameTheme = () => { theme.textContent = isDark() ? "Light page" : "Dark page"; };
	theme.addEventListener("click", () => {
		root.dataset.theme = isDark() ? "light" : "dark";
		nameTheme();
	});
	matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
	nameTheme();
	document.querySelector("header").append(theme);

	// On paper nothing is folded.
	let opened = [];
	addEventListener("beforeprint", () => {
		opened = [...document.querySelectorAll("main details:not([open])")].filter(d => !d.closest("#controls"));
		opened.forEach(d => { d.open = true; });
	});
	addEventListener("afterprint", () => opened.forEach(d => { d.open = false; }));

	const table = document.getElementById("cells");
	const body = table.tBodies[0];
	const columns = [...table.tHead.rows[0].cells].map((th, index) => ({
		th, index, label: th.textContent, param: th.dataset.param, unit: th.dataset.unit,
		name: th.dataset.param ?? th.dataset.unit ?? "n",
	}));
	const keys = columns.filter(c => c.param !== undefined);
	const units = columns.filter(c => c.unit !== undefined);
	const usual = units.filter(c => "usual" in c.th.dataset).map(c => c.unit);
	const rows = [...body.rows].map(tr => ({
		tr,
		text: keys.map(c => c.label + "=" + tr.cells[c.index].textContent).join(" ").toLowerCase(),
	}));
	const valueOf = (row, column) => row.tr.cells[column.index].textContent;

	let state;
	const fresh = () => ({ filters: new Map(), text: "", sort: null, down: false, units: new Set(usual) });

	const read = () => {
		state = fresh();
		// A plus is no space in an address that somebody types: method=read+write.
		for (const [name, value] of new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"))) {
			if (name === "text") {
				state.text = value;
			} else if (name === "units") {
				state.units = new Set(value.split(",").filter(u => units.some(c => c.unit === u)));
			} else if (name === "sort") {
				// A unit may begin with a minus itself.
				const column = columns.find(c => c.name === value);
				state.down = !column;
				state.sort = column ?? columns.find(c => "-" + c.name === value) ?? null;
			} else {
				const column = keys.find(c => c.param === name);
				if (column && value) state.filters.set(column, value);
			}
		}
	};

	const write = () => {
		const plain = text => encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%2C", ",");
		const parts = [...state.filters].map(([c, value]) => plain(c.param) + "=" + plain(value));
		if (state.text) parts.push("text=" + plain(state.text));
		if (state.sort) parts.push("sort=" + plain((state.down ? "-" : "") + state.sort.name));
		const shown = units.map(c => c.unit).filter(u => state.units.has(u));
		if (shown.join() !== usual.join()) parts.push("units=" + plain(shown.join()));
		history.replaceState(null, "", parts.length ? "#" + parts.join("&") : location.pathname + location.search);
	};

	const hidden = make("style");
	document.head.append(hidden);

	const show = () => {
		const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
		const passes = row => words.every(w => row.text.includes(w)) && [...state.filters].every(([c, value]) =>
			c.choices ? valueOf(row, c) === value : valueOf(row, c).toLowerCase().includes(value.toLowerCase()));
		const left = rows.filter(passes);
		for (const row of rows) row.tr.hidden = true;
		for (const row of left) row.tr.hidden = false;
		let order = rows;
		if (state.sort) {
			const at = row => row.tr.cells[state.sort.index].dataset.v;
			const sign = state.down ? -1 : 1;
			// What was not measured comes last either way.
			order = [...rows].sort((a, b) => (at(a) === undefined) - (at(b) === undefined) || sign * (at(a) - at(b)) || 0);
		}
		body.append(...order.map(row => row.tr));
		for (const c of columns) {
			c.th.ariaSort = c !== state.sort ? "none" : state.down ? "descending" : "ascending";
			if (c.control) {
				c.control.value = state.filters.get(c) ?? "";
				c.control.classList.toggle("chosen", state.filters.has(c));
			}
			if (c.box) c.box.checked = state.units.has(c.unit);
		}
		// A column that has nothing in the rows that are left is out of the way.
		const isEmpty = c => left.length > 0 && left.every(row => valueOf(row, c) === "");
		hidden.textContent = columns.filter(c => c.unit !== undefined && !state.units.has(c.unit) || isEmpty(c))
			.map(c => `#cells :is(th, td):nth-child(${c.index + 1}) { display: none; }`).join("\n");
		if (search.value !== state.text) search.value = state.text;
		output.textContent = `${left.length} of ${rows.length} cells`;
	};
	const change = () => {
		show();
		write();
	};

	// The controls.
	const most = 60; // values that a menu is made of; more are typed
	for (const c of columns) {
		const button = make("button", { type: "button", textContent: c.label });
		button.addEventListener("click", () => {
			// The first click puts the best first.
			const first = c.th.dataset.best === "higher";
			state.down = state.sort === c ? !state.down : first;
			state.sort = c;
			change();
		});
		c.th.replaceChildren(button);
	}
	for (const c of keys) {
		const places = new Map(rows.map(row => [valueOf(row, c), Number(row.tr.cells[c.index].dataset.v)]));
		places.delete("");
		c.choices = places.size <= most;
		if (c.choices) {
			const values = [...places.keys()].sort((a, b) => places.get(a) - places.get(b));
			c.control = make("select", {}, make("option", { value: "", textContent: "all" }), ...values.map(v => make("option", { value: v, textContent: v })));
		} else {
			c.control = make("input", { type: "text", placeholder: "all" });
		}
		c.control.ariaLabel = "only where " + c.label + " is";
		c.control.addEventListener("input", () => {
			if (c.control.value) state.filters.set(c, c.control.value);
			else state.filters.delete(c);
			change();
		});
		c.th.append(c.control);
	}
	const search = make("input", { type: "search", id: "text" });
	search.addEventListener("input", () => {
		state.text = search.value;
		change();
	});
	const reset = make("button", { type: "button", textContent: "Show all", id: "reset" });
	reset.addEventListener("click", () => {
		state = fresh();
		change();
	});
	const output = make("output", { id: "count" });
	const choice = make("fieldset", {}, make("legend", { className: "skip", textContent: "Units to show" }));
	for (const c of units) {
		c.box = make("input", { type: "checkbox" });
		c.box.addEventListener("change", () => {
			if (c.box.checked) state.units.add(c.unit);
			else state.units.delete(c.unit);
			change();
		});
		choice.append(make("label", {}, c.box, " " + c.unit));
	}
	const controls = document.getElementById("controls");
	controls.append(
		make("label", {}, "Words in the name ", search), reset, output,
		make("details", {}, make("summary", { textContent: "Units" }), choice),
	);
	controls.hidden = false;

	// A fragment without a value is a place in the page.
	const isView = () => location.hash.includes("=");
	const visit = () => {
		read();
		show();
		table.closest("section").scrollIntoView();
	};
	addEventListener("hashchange", () => { if (isView()) visit(); });
	state = fresh();
	if (isView()) visit();
	else show();
})();
