// Everything around the pages: words, look, cache, and the one place where language and theme are chosen.

import { App as AntApp, ConfigProvider } from "antd";
import enUS from "antd/locale/en_US";
import zhCN from "antd/locale/zh_CN";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useState } from "react";
import { RouterProvider } from "react-router";
import { patch } from "./api/client";
import { queries } from "./api/queries";
import type { Me } from "./api/shapes";
import { WordsProvider } from "./i18n";
import { router } from "./routes";
import {
  chooseLanguage,
  chooseTheme,
  recall,
  remember,
  type Preferences,
} from "./stores/preferences";
import { DARK, LIGHT } from "./theme";

interface Choices {
  language: "zh" | "en";
  theme: "light" | "dark";
  choose: (wish: Partial<Preferences>) => void;
}

const Context = createContext<Choices>({ language: "en", theme: "light", choose: () => undefined });
export const useChoices = (): Choices => useContext(Context);

/** Whether the browser's person prefers something, followed as it changes. */
function usePreference(query: string): boolean {
  const [list] = useState(() => window.matchMedia(query));
  const [matches, setMatches] = useState(list.matches);
  useEffect(() => {
    const follow = () => setMatches(list.matches);
    list.addEventListener("change", follow);
    return () => list.removeEventListener("change", follow);
  }, [list]);
  return matches;
}

function useChosen(): Choices {
  const cache = useQueryClient();
  const { data: me } = useQuery(queries.me());
  const [local, setLocal] = useState<Preferences>(() => recall(localStorage));
  const prefersDark = usePreference("(prefers-color-scheme: dark)");

  // The profile wins over what this browser remembers, and is what it remembers from then on.
  const known = { language: me?.language || local.language, theme: me?.theme || local.theme };
  useEffect(
    () => remember(localStorage, { language: me?.language ?? "", theme: me?.theme ?? "" }),
    [me?.language, me?.theme],
  );

  const choose = (wish: Partial<Preferences>) => {
    setLocal((old) => ({ ...old, ...wish }));
    remember(localStorage, { language: "", theme: "", ...wish });
    if (!me) return;
    cache.setQueryData(queries.me().queryKey, { ...me, ...wish });
    patch<Me>("/api/me/", wish).catch(() => cache.invalidateQueries({ queryKey: ["me"] }));
  };
  const language = chooseLanguage([known.language], navigator.language);
  const theme = chooseTheme([known.theme], prefersDark);
  return { language, theme, choose };
}

export function App() {
  const choices = useChosen();
  const { language, theme } = choices;
  const look = theme === "dark" ? DARK : LIGHT;
  // Without animations of ours the kit must not wait for their ends.
  const motion = !usePreference("(prefers-reduced-motion: reduce)");

  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.documentElement.dataset.theme = theme;
  }, [language, theme]);

  return (
    <Context.Provider value={choices}>
      <WordsProvider language={language}>
        <ConfigProvider
          locale={language === "zh" ? zhCN : enUS}
          theme={{ ...look, token: { ...look.token, motion } }}
          button={{ autoInsertSpace: false }}
        >
          <AntApp>
            <RouterProvider router={router} />
          </AntApp>
        </ConfigProvider>
      </WordsProvider>
    </Context.Provider>
  );
}
