import { theme } from "antd";
import { describe, expect, it } from "vitest";
import { DARK, LIGHT } from "./theme";

const GROUNDS = ["colorBgContainer", "colorBgElevated"] as const;
const WORDS = [
  "colorText",
  "colorTextSecondary",
  "colorTextDescription",
  "colorLink",
  "colorSuccess",
  "colorWarning",
  "colorError",
] as const;

/** Relative luminance of #rrggbb (WCAG 2.2). */
function luminanceOf(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5]
    .map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrastOf(one: string, other: string): number {
  const [light = 0, dark = 0] = [luminanceOf(one), luminanceOf(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

describe.each([
  ["light", LIGHT],
  ["dark", DARK],
])("the %s theme", (_, config) => {
  it("has words that are read on every ground, as the kit makes its colours (WCAG AA)", () => {
    const tokens = theme.getDesignToken(config);
    const weak = GROUNDS.flatMap((ground) =>
      WORDS.map((word) => [word, ground, contrastOf(tokens[word], tokens[ground])] as const),
    ).filter(([, , contrast]) => contrast < 4.5);
    expect(weak).toEqual([]);
  });
});
