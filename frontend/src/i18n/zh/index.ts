import type { Catalogue } from "../en";
import { basics } from "./basics";
import { drive } from "./drive";
import { finding } from "./finding";
import { home } from "./home";
import { hub } from "./hub";
import { importErrors, imports } from "./imports";
import { jobs } from "./jobs";
import { labelling, labellingErrors } from "./labelling";
import { launch } from "./launch";
import { machines } from "./machines";
import { images, nodes } from "./nodes";
import { people } from "./people";
import { playground } from "./playground";
import { repo } from "./repo";
import { shell } from "./shell";
import { units } from "./units";

export const zh: Catalogue = {
  ...basics,
  errors: {
    ...basics.errors,
    ...labellingErrors,
    ...importErrors,
  },
  shell,
  home,
  jobs,
  launch,
  hub,
  finding,
  repo,
  labelling,
  drive,
  imports,
  machines,
  nodes,
  images,
  playground,
  ...people,
  units,
};
