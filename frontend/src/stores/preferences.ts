// Language and theme: the profile's choice, else what this browser remembers, else what it asks for.

import type { Language, Theme } from "../api/shapes";

export interface Preferences {
  language: Language | "";
  theme: Theme | "";
}

const KEYS = { language: "athanor.language", theme: "athanor.theme" } as const;

interface Memory {
  getItem: (key: string) => string | null;
  setItem: (key: string, value: string) => void;
}

export function remember(memory: Memory, preferences: Preferences): void {
  if (preferences.language) memory.setItem(KEYS.language, preferences.language);
  if (preferences.theme) memory.setItem(KEYS.theme, preferences.theme);
}

export function recall(memory: Memory): Preferences {
  const language = memory.getItem(KEYS.language);
  const theme = memory.getItem(KEYS.theme);
  return {
    language: language === "zh" || language === "en" ? language : "",
    theme: theme === "light" || theme === "dark" ? theme : "",
  };
}

export function chooseLanguage(wishes: (Language | "" | undefined)[], browser: string): Language {
  return (
    wishes.find((wish) => wish === "zh" || wish === "en") ||
    (browser.startsWith("zh") ? "zh" : "en")
  );
}

export function chooseTheme(wishes: (Theme | "" | undefined)[], prefersDark: boolean): Theme {
  return (
    wishes.find((wish) => wish === "light" || wish === "dark") || (prefersDark ? "dark" : "light")
  );
}
