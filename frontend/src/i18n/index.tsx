// The page's language: a typed catalogue and the matching formats, for every component below the provider.

import { createContext, useContext, useMemo, type ReactNode } from "react";
import type { Language } from "../api/shapes";
import { en, type Catalogue } from "./en";
import { makeFormat, type Format } from "./format";
import { zh } from "./zh";

interface Words {
  language: Language;
  text: Catalogue;
  format: Format;
}

const CATALOGUES: Record<Language, Catalogue> = { en, zh };

const Context = createContext<Words>({ language: "en", text: en, format: makeFormat("en") });

export function WordsProvider({ language, children }: { language: Language; children: ReactNode }) {
  const words = useMemo(
    () => ({ language, text: CATALOGUES[language], format: makeFormat(language) }),
    [language],
  );
  return <Context.Provider value={words}>{children}</Context.Provider>;
}

export const useWords = (): Words => useContext(Context);
