// Numbers, sizes and times as people read them, through Intl in the page's language.

import type { Language } from "../api/shapes";

const TAG: Record<Language, string> = { en: "en-GB", zh: "zh-CN" };
const GIB = 2 ** 30;
const MIB = 2 ** 20;

export interface Format {
  number: (value: number, digits?: number) => string;
  /** A measured value at a readable precision, such as a loss or a learning rate. */
  measure: (value: number) => string;
  percent: (ratio: number) => string;
  points: (mpoints: number) => string;
  /** To the last milli-point, for statements. */
  exact: (mpoints: number) => string;
  /** The same with a sign, for changes. */
  change: (mpoints: number) => string;
  bytes: (value: number) => string;
  compact: (value: number) => string;
  duration: (seconds: number) => string;
  /** Names in a row, with the language's own "and". */
  list: (names: string[]) => string;
  time: (iso: string) => string;
  /** The time of day, with the date where that is not today. */
  clock: (at: string | number) => string;
  relative: (iso: string, now?: number) => string;
}

type Unit = [Intl.RelativeTimeFormatUnit, number];
const UNITS: readonly Unit[] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

function durationParts(seconds: number): [number, "day" | "hour" | "minute" | "second"][] {
  const whole = Math.max(0, Math.round(seconds));
  if (whole >= 86_400)
    return [
      [Math.floor(whole / 86_400), "day"],
      [Math.floor((whole % 86_400) / 3600), "hour"],
    ];
  if (whole >= 3600)
    return [
      [Math.floor(whole / 3600), "hour"],
      [Math.floor((whole % 3600) / 60), "minute"],
    ];
  if (whole >= 60)
    return [
      [Math.floor(whole / 60), "minute"],
      [whole % 60, "second"],
    ];
  return [[whole, "second"]];
}

export function makeFormat(language: Language): Format {
  const tag = TAG[language];
  const number = (value: number, digits = 0) =>
    new Intl.NumberFormat(tag, { maximumFractionDigits: digits }).format(value);
  const points = new Intl.NumberFormat(tag, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const exact = new Intl.NumberFormat(tag, {
    minimumFractionDigits: 3,
    maximumFractionDigits: 3,
  });
  const change = new Intl.NumberFormat(tag, {
    minimumFractionDigits: 3,
    maximumFractionDigits: 3,
    signDisplay: "exceptZero",
  });
  const relative = new Intl.RelativeTimeFormat(tag, { numeric: "auto" });
  const unitText = (value: number, unit: string) =>
    new Intl.NumberFormat(tag, {
      style: "unit",
      unit,
      unitDisplay: language === "zh" ? "short" : "narrow",
    }).format(value);
  return {
    number,
    measure: (value) =>
      new Intl.NumberFormat(tag, {
        maximumSignificantDigits: 4,
        notation: value !== 0 && Math.abs(value) < 1e-3 ? "scientific" : "standard",
      }).format(value),
    percent: (ratio) =>
      new Intl.NumberFormat(tag, { style: "percent", maximumFractionDigits: 0 }).format(ratio),
    points: (mpoints) => points.format(mpoints / 1000),
    exact: (mpoints) => exact.format(mpoints / 1000),
    change: (mpoints) => change.format(mpoints / 1000),
    bytes: (value) => {
      if (value >= 0.1 * GIB) return `${number(value / GIB, 2)} GiB`;
      if (value >= 0.1 * MIB) return `${number(value / MIB, 1)} MiB`;
      return value >= 1024 ? `${number(value / 1024, 1)} KiB` : `${number(value)} B`;
    },
    compact: (value) =>
      new Intl.NumberFormat(language === "zh" ? tag : "en-US", {
        notation: "compact",
        maximumFractionDigits: language === "zh" ? 2 : 1,
      }).format(value),
    duration: (seconds) =>
      durationParts(seconds)
        .filter(([value], index) => index === 0 || value > 0)
        .map(([value, unit]) => unitText(value, unit))
        .join(" "),
    list: (names) => new Intl.ListFormat(tag).format(names),
    time: (iso) =>
      new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "medium" }).format(
        new Date(iso),
      ),
    clock: (at) => {
      const when = new Date(at);
      const isToday = when.toDateString() === new Date().toDateString();
      return new Intl.DateTimeFormat(tag, {
        hour: "2-digit",
        minute: "2-digit",
        hourCycle: "h23",
        ...(!isToday && { day: "numeric", month: "short" }),
      }).format(when);
    },
    relative: (iso, now = Date.now()) => {
      const seconds = (new Date(iso).getTime() - now) / 1000;
      const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
      return relative.format(Math.round(seconds / size), unit);
    },
  };
}
