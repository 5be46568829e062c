// Where the menu and the palette can take a person, by role.

import {
  ApartmentOutlined,
  AppstoreOutlined,
  CloudServerOutlined,
  CodeOutlined,
  DatabaseOutlined,
  DeploymentUnitOutlined,
  FileZipOutlined,
  FireOutlined,
  HighlightOutlined,
  FolderOpenOutlined,
  HomeOutlined,
  MessageOutlined,
  TeamOutlined,
  WalletOutlined,
} from "../../widgets/icons";
import type { ReactNode } from "react";
import type { Me } from "../../api/shapes";
import type { Catalogue } from "../../i18n/en";

export interface Destination {
  path: string;
  name: string;
  icon: ReactNode;
  isOperators: boolean;
}

export function destinationsFor(me: Me, text: Catalogue): Destination[] {
  const nav = text.shell.nav;
  const all: Destination[] = [
    { path: "/", name: nav.home, icon: <HomeOutlined />, isOperators: false },
    { path: "/machines", name: nav.machines, icon: <CodeOutlined />, isOperators: false },
    { path: "/jobs", name: nav.jobs, icon: <FireOutlined />, isOperators: false },
    { path: "/models", name: nav.models, icon: <AppstoreOutlined />, isOperators: false },
    { path: "/datasets", name: nav.datasets, icon: <DatabaseOutlined />, isOperators: false },
    { path: "/labelling", name: nav.labelling, icon: <HighlightOutlined />, isOperators: false },
    { path: "/drive", name: nav.drive, icon: <FolderOpenOutlined />, isOperators: false },
    { path: "/playground", name: nav.playground, icon: <MessageOutlined />, isOperators: false },
    {
      path: "/deployments",
      name: nav.deployments,
      icon: <DeploymentUnitOutlined />,
      isOperators: false,
    },
    { path: "/points", name: nav.points, icon: <WalletOutlined />, isOperators: false },
    {
      path: "/organizations",
      name: nav.organizations,
      icon: <ApartmentOutlined />,
      isOperators: false,
    },
    { path: "/users", name: nav.users, icon: <TeamOutlined />, isOperators: true },
    { path: "/nodes", name: nav.nodes, icon: <CloudServerOutlined />, isOperators: true },
    { path: "/images", name: nav.images, icon: <FileZipOutlined />, isOperators: true },
  ];
  return all.filter((place) => !place.isOperators || me.role !== "member");
}
