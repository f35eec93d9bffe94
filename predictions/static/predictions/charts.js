/* Draws each <figure class="chart"> with uPlot, from the JSON inside it. Tooltips show the cells of
   the table inside it. Row i of the table is row i of the JSON. */
"use strict";
{
  const SERIES_COLOURS = 6;
  const ROW_HEIGHT = 30;
  const LOW_ROW_HEIGHT = 22;
  const AXIS_HEIGHT = 34;
  const PLOT_HEIGHT = 240;
  const MAX_ROWS_WITH_DOTS = 60;
  const FONT = '12px system-ui, "Segoe UI", Roboto, sans-serif';

  const MAX_NAME_WIDTH = 190;
  const NAME_MARGIN = 16;
  const DAY_SECONDS = 86400;

  // Measures texts in CSS pixels.
  const measure = document.createElement("canvas").getContext("2d");
  measure.font = FONT;

  // Read again at each drawing: the theme may change while the page is open.
  const variable = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const format = (number, isPercentage) => {
    if (isPercentage) return `${Number((number * 100).toPrecision(6))} %`;
    const size = Math.abs(number);
    if (size >= 1e6 || (size > 0 && size < 1e-4)) {
      return Number(number.toPrecision(3)).toExponential().replace("e+", "e");
    }
    return String(Number(number.toPrecision(6)));
  };

  // In UTC, as in the table.
  const formatTime = (seconds, step) => {
    const text = new Date(seconds * 1000).toISOString();
    if (step >= 28 * DAY_SECONDS) return text.slice(0, 7);
    return step >= DAY_SECONDS ? text.slice(5, 10) : text.slice(5, 16).replace("T", " ");
  };

  const colourName = (drawing, index) => {
    if (drawing.series[index].is_background) return "--chart-background";
    const before = drawing.series.slice(0, index).filter((one) => !one.is_background);
    return `--chart-${before.length % SERIES_COLOURS}`;
  };

  // The middle is cut out: the end of a name often tells it from others.
  const shorten = (context, text, width) => {
    if (context.measureText(text).width <= width) return text;
    let kept = text.length - 1;
    let short = text;
    while (kept > 2 && context.measureText(short).width > width) {
      kept -= 1;
      const end = Math.floor(kept / 2);
      short = `${text.slice(0, kept - end)}…${text.slice(text.length - end)}`;
    }
    return short;
  };

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.plot = figure.querySelector(".chart-plot");
      // Without the script there would be nothing to move in.
      this.plot.tabIndex = 0;
      this.reading = figure.querySelector(".chart-reading");
      this.drawing = JSON.parse(
        figure.querySelector('script[type="application/json"]').textContent,
      );
      this.headers = [...figure.querySelectorAll("thead th")].map((cell) => cell.textContent);
      this.rows = [...figure.querySelectorAll("tbody tr")];
      this.isHorizontal = this.drawing.axis === "names";
      this.row = null;
      for (const key of figure.querySelectorAll(".chart-key")) {
        key.style.color = `var(${colourName(this.drawing, Number(key.dataset.series))})`;
      }
      this.tooltip = document.createElement("div");
      this.tooltip.className = "chart-tooltip";
      this.tooltip.hidden = true;
      this.mark = document.createElement("div");
      this.mark.className = "chart-mark";
      this.mark.hidden = true;
      this.build();
      this.listen();
    }

    get height() {
      if (!this.isHorizontal) return PLOT_HEIGHT;
      const rows = this.drawing.rows.length;
      return rows * (rows > 12 ? LOW_ROW_HEIGHT : ROW_HEIGHT) + AXIS_HEIGHT;
    }

    build() {
      const { drawing } = this;
      this.uplot = new uPlot(
        {
          width: this.plot.clientWidth,
          height: this.height,
          legend: { show: false },
          tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
          scales: this.scales(),
          axes: this.axes(),
          series: [{}, ...drawing.series.map((_, index) => this.series(index))],
          cursor: {
            x: drawing.axis === "time" || drawing.axis === "numbers",
            y: false,
            drag: { x: false, y: false, setScale: false },
            points: { show: !this.isHorizontal && drawing.axis !== "bins" },
          },
          hooks: {
            draw: [() => this.drawMore()],
            setCursor: [() => this.show(this.rowAtCursor())],
          },
        },
        this.data(),
        this.plot,
      );
      this.uplot.over.append(this.mark);
      this.plot.append(this.tooltip);
    }

    data() {
      const { axis, rows, positions, series } = this.drawing;
      const x = axis === "names" ? rows.map((_, index) => index) : positions;
      // The last step ends at the last edge.
      const values = series.map((one) =>
        axis === "bins" ? [...one.values, one.values.at(-1) ?? null] : one.values,
      );
      return [x, ...values];
    }

    scales() {
      const { axis, rows } = this.drawing;
      const across = this.isHorizontal
        ? { time: false, ori: 1, dir: -1, range: [-0.5, rows.length - 0.5] }
        : { time: axis === "time" };
      if (axis !== "names" && rows.length === 1 && axis !== "bins") {
        // Without a range of its own, one point lies at the left edge.
        const [only] = this.drawing.positions;
        const margin = axis === "time" ? DAY_SECONDS / 2 : Math.abs(only) / 2 || 1;
        across.range = [only - margin, only + margin];
      }
      return { x: across, y: { ori: this.isHorizontal ? 0 : 1, range: () => this.range() } };
    }

    range() {
      const { include, series } = this.drawing;
      const numbers = [
        ...include,
        ...series.flatMap((one) => [...one.values, ...one.intervals.flatMap((pair) => pair ?? [])]),
      ].filter((number) => number !== null);
      if (series.some((one) => one.shape === "bars" || one.shape === "steps")) numbers.push(0);
      let low = Infinity;
      let high = -Infinity;
      for (const number of numbers) {
        low = Math.min(low, number);
        high = Math.max(high, number);
      }
      if (low > high) return [0, 1];
      const margin = (high - low || Math.abs(high) || 1) * 0.05;
      const isFixed = (number) => number === 0 || include.includes(number);
      return [isFixed(low) ? low : low - margin, isFixed(high) && low < high ? high : high + margin];
    }

    axes() {
      const { drawing } = this;
      const shared = {
        stroke: () => variable("--body-quiet-color"),
        font: FONT,
        grid: { stroke: () => variable("--hairline-color"), width: 1 },
        ticks: { show: false },
      };
      const figures = {
        ...shared,
        side: this.isHorizontal ? 2 : 3,
        size: this.isHorizontal ? AXIS_HEIGHT - 8 : 58,
        space: this.isHorizontal ? 60 : 36,
        values: (_, splits) => splits.map((split) => format(split, drawing.is_percentage)),
      };
      if (!this.isHorizontal) {
        const isPercentage = drawing.is_percentage && drawing.axis === "numbers";
        const values =
          drawing.axis === "time"
            ? (_, splits, axis, space, step) => splits.map((split) => formatTime(split, step))
            : (_, splits) => splits.map((split) => format(split, isPercentage));
        return [{ ...shared, size: AXIS_HEIGHT, space: 72, values }, figures];
      }
      const names = {
        ...shared,
        side: 3,
        size: (_, names) => (names ? this.widthOf(names) : 0) + NAME_MARGIN,
        grid: { show: false },
        splits: () => drawing.rows.map((_, index) => index),
        values: () => {
          const width = Math.min(MAX_NAME_WIDTH, this.plot.clientWidth * 0.38);
          return drawing.rows.map((name) => shorten(measure, name, width));
        },
      };
      return [names, figures];
    }

    widthOf(names) {
      return Math.max(0, ...names.map((name) => measure.measureText(name).width));
    }

    series(index) {
      const { axis, rows, series } = this.drawing;
      const { shape } = series[index];
      const colour = () => variable(colourName(this.drawing, index));
      if (axis === "names" || shape === "text") return { paths: () => null, points: { show: false } };
      return {
        stroke: colour,
        width: shape === "dots" ? 0 : 2,
        dash: shape === "dashed" ? [6, 5] : undefined,
        fill: shape === "steps" ? () => `${colour()}40` : undefined,
        paths:
          shape === "dots"
            ? () => null
            : shape === "steps"
              ? uPlot.paths.stepped({ align: 1 })
              : uPlot.paths.linear(),
        points: {
          show: shape === "dots" || (shape === "line" && rows.length <= MAX_ROWS_WITH_DOTS),
          size: shape === "dots" ? 9 : 6,
          fill: colour,
        },
      };
    }

    /* What uPlot has no paths for: intervals, and everything beside names. */
    drawMore() {
      const { ctx } = this.uplot;
      ctx.save();
      this.drawing.series.forEach((one, index) => {
        ctx.strokeStyle = ctx.fillStyle = variable(colourName(this.drawing, index));
        ctx.lineWidth = 2 * devicePixelRatio;
        this.drawing.rows.forEach((_, row) => {
          const interval = one.intervals[row];
          if (interval) this.drawInterval(ctx, index, row, interval);
          if (this.isHorizontal && one.values[row] !== null) {
            this.drawNamed(ctx, index, row, one.shape, one.values[row]);
          }
        });
      });
      ctx.restore();
    }

    drawInterval(ctx, index, row, [low, high]) {
      ctx.globalAlpha = 0.5;
      ctx.beginPath();
      if (this.isHorizontal) {
        const y = this.middle(index, row);
        ctx.moveTo(this.uplot.valToPos(low, "y", true), y);
        ctx.lineTo(this.uplot.valToPos(high, "y", true), y);
      } else {
        const x = this.uplot.valToPos(this.drawing.positions[row], "x", true);
        ctx.moveTo(x, this.uplot.valToPos(low, "y", true));
        ctx.lineTo(x, this.uplot.valToPos(high, "y", true));
      }
      ctx.stroke();
      ctx.globalAlpha = 1;
    }

    drawNamed(ctx, index, row, shape, value) {
      const y = this.middle(index, row);
      const x = this.uplot.valToPos(value, "y", true);
      if (shape === "bars") {
        const start = this.uplot.valToPos(0, "y", true);
        const thickness = this.lane() * 0.8;
        // A tiny share is visible, and none is not.
        const length = value ? Math.max(Math.abs(x - start), devicePixelRatio) : 0;
        ctx.fillRect(Math.min(start, x), y - thickness / 2, length, thickness);
        return;
      }
      ctx.beginPath();
      ctx.arc(x, y, 4.5 * devicePixelRatio, 0, 2 * Math.PI);
      ctx.fill();
    }

    /* The series of a named row lie in lanes, one below the other. */
    lane() {
      const row = this.uplot.bbox.height / this.drawing.rows.length;
      return (row * 0.8) / this.drawing.series.length;
    }

    middle(index, row) {
      const offset = index - (this.drawing.series.length - 1) / 2;
      return this.uplot.valToPos(row, "x", true) + offset * this.lane();
    }

    /* From and to where a row extends on its axis, in CSS pixels. */
    extent(row) {
      const { axis, positions } = this.drawing;
      const at = (value) => this.uplot.valToPos(value, "x");
      if (axis === "names") return [at(row - 0.5), at(row + 0.5)];
      if (axis === "bins") return [at(positions[row]), at(positions[row + 1])];
      return [at(positions[row]), at(positions[row])];
    }

    rowAtCursor() {
      const { left, top, idx } = this.uplot.cursor;
      if (left < 0 || top < 0 || idx === null || idx === undefined) return null;
      if (this.drawing.axis !== "bins") return idx;
      const value = this.uplot.posToVal(left, "x");
      const after = this.drawing.positions.findIndex((edge) => edge > value);
      return after < 0 ? this.rows.length - 1 : Math.max(after - 1, 0);
    }

    moveTo(row) {
      const [from, to] = this.extent(row);
      const middle = (from + to) / 2;
      this.uplot.setCursor(
        this.isHorizontal
          ? { left: this.uplot.over.clientWidth / 2, top: middle }
          : { left: middle, top: this.uplot.over.clientHeight / 3 },
      );
      // The nearest of several rows at one place may be another one.
      this.show(row);
      this.reading.textContent = this.texts(row).join(", ");
    }

    texts(row) {
      const cells = [...this.rows[row].cells].map((cell) => cell.textContent.trim());
      return cells.map((text, index) => (index ? `${this.headers[index]} ${text}` : text));
    }

    link() {
      return this.row === null ? null : this.rows[this.row]?.querySelector("a");
    }

    show(row) {
      this.row = row;
      this.tooltip.hidden = row === null;
      this.mark.hidden = row === null || !(this.isHorizontal || this.drawing.axis === "bins");
      this.uplot.over.classList.toggle("has-link", Boolean(this.link()));
      if (row === null) return;
      const [from, to] = this.extent(row);
      const [start, length] = this.isHorizontal ? ["top", "height"] : ["left", "width"];
      this.mark.style[start] = `${Math.min(from, to)}px`;
      this.mark.style[length] = `${Math.abs(to - from)}px`;
      this.tooltip.replaceChildren(
        ...this.texts(row).map((text, index) => {
          const line = document.createElement(index ? "div" : "strong");
          line.textContent = text;
          return line;
        }),
      );
      this.place((from + to) / 2);
    }

    /* Beside the row, and never over the edge of the chart. */
    place(middle) {
      const { over } = this.uplot;
      const plot = this.plot.getBoundingClientRect();
      const area = over.getBoundingClientRect();
      const across = area.left - plot.left;
      const x = across + (this.isHorizontal ? area.width / 2 : middle + 12);
      const y = area.top - plot.top + (this.isHorizontal ? middle + 14 : 8);
      const width = this.tooltip.offsetWidth;
      const isBeyond = x + width > plot.width;
      const left = isBeyond && !this.isHorizontal ? across + middle - width - 12 : x;
      this.tooltip.style.left = `${Math.max(0, Math.min(left, plot.width - width))}px`;
      this.tooltip.style.top = `${y}px`;
    }

    hide() {
      this.uplot.setCursor({ left: -10, top: -10 });
      this.show(null);
      this.reading.textContent = "";
    }

    listen() {
      this.plot.addEventListener("keydown", (event) => this.onKey(event));
      this.plot.addEventListener("blur", () => this.hide());
      this.uplot.over.addEventListener("click", (event) => {
        // A tap shows the figures first; the table has the link as well.
        if (event.pointerType !== "touch") this.link()?.click();
      });
      new ResizeObserver(() => {
        const width = this.plot.clientWidth;
        if (width && width !== this.uplot.width) {
          this.uplot.setSize({ width, height: this.height });
        }
      }).observe(this.plot);
    }

    onKey(event) {
      if (!this.rows.length) return;
      const last = this.rows.length - 1;
      const row = this.row ?? -1;
      const targets = {
        ArrowRight: row + 1,
        ArrowDown: row + 1,
        ArrowLeft: this.row === null ? last : row - 1,
        ArrowUp: this.row === null ? last : row - 1,
        Home: 0,
        End: last,
      };
      if (event.key in targets) {
        event.preventDefault();
        this.moveTo(Math.min(Math.max(targets[event.key], 0), last));
      } else if (event.key === "Escape") {
        this.hide();
      } else if (event.key === "Enter") {
        this.link()?.click();
      }
    }
  }

  // The newest days are at the end.
  for (const map of document.querySelectorAll(".heat-map")) map.scrollLeft = map.scrollWidth;

  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => new Chart(figure));
  const redraw = () => charts.forEach((chart) => chart.uplot.redraw(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // The admin's button for the theme sets an attribute.
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
}
