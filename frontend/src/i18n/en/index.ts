import { basics } from "./basics";
import { home } from "./home";
import { hub } from "./hub";
import { jobs } from "./jobs";
import { launch } from "./launch";
import { people } from "./people";
import { playground } from "./playground";
import { shell } from "./shell";

const fields: Record<string, { title: string; help: string }> = {};
const units: Record<string, string> = {};

export const en = {
  ...basics,
  shell,
  home,
  jobs,
  launch,
  hub,
  playground,
  ...people,
  fields,
  units,
};
export type Catalogue = typeof en;
