// Every address of the dashboard and the page it opens; a page is loaded when it is first looked at.

import { createBrowserRouter, type RouteObject } from "react-router";
import { PageFault } from "./pages/shell/PageFault";
import { NotFoundPage } from "./pages/shell/NotFoundPage";
import { PageSkeleton } from "./widgets/PageSkeleton";

const pages: RouteObject[] = [
  {
    index: true,
    lazy: async () => ({ Component: (await import("./pages/home/HomePage")).HomePage }),
  },
  {
    path: "machines",
    lazy: async () => ({ Component: (await import("./pages/machines/MachinesPage")).MachinesPage }),
  },
  {
    path: "machines/new",
    lazy: async () => ({
      Component: (await import("./pages/machines/NewMachinePage")).NewMachinePage,
    }),
  },
  {
    path: "machines/enter",
    lazy: async () => ({ Component: (await import("./pages/machines/EnterPage")).EnterPage }),
  },
  {
    path: "machines/:key/terminal",
    lazy: async () => ({
      Component: (await import("./pages/machines/TerminalPage")).TerminalPage,
    }),
  },
  {
    path: "machines/:key/open/:tool",
    lazy: async () => ({ Component: (await import("./pages/machines/OpenPage")).OpenPage }),
  },
  {
    path: "machines/:key",
    lazy: async () => ({ Component: (await import("./pages/machines/MachinePage")).MachinePage }),
  },
  {
    path: "jobs",
    lazy: async () => ({ Component: (await import("./pages/jobs/JobsPage")).JobsPage }),
  },
  {
    path: "jobs/:id",
    lazy: async () => ({ Component: (await import("./pages/jobs/JobPage")).JobPage }),
  },
  {
    path: "launch",
    lazy: async () => ({ Component: (await import("./pages/launch/LaunchPage")).LaunchPage }),
  },
  {
    path: "models",
    lazy: async () => ({ Component: (await import("./pages/models/ModelsPage")).ModelsPage }),
  },
  {
    path: "models/:namespace/:name",
    lazy: async () => ({ Component: (await import("./pages/models/ModelPage")).ModelPage }),
  },
  {
    path: "datasets",
    lazy: async () => ({ Component: (await import("./pages/datasets/DatasetsPage")).DatasetsPage }),
  },
  {
    path: "datasets/new",
    lazy: async () => ({
      Component: (await import("./pages/datasets/UploadDatasetPage")).UploadDatasetPage,
    }),
  },
  {
    path: "datasets/:namespace/:name",
    lazy: async () => ({ Component: (await import("./pages/datasets/DatasetPage")).DatasetPage }),
  },
  {
    path: "labelling",
    lazy: async () => ({
      Component: (await import("./pages/labelling/LabellingPage")).LabellingPage,
    }),
  },
  {
    path: "labelling/new",
    lazy: async () => ({
      Component: (await import("./pages/labelling/NewProjectPage")).NewProjectPage,
    }),
  },
  {
    path: "labelling/:id",
    lazy: async () => ({ Component: (await import("./pages/labelling/ProjectPage")).ProjectPage }),
  },
  {
    path: "labelling/:id/work",
    lazy: async () => ({ Component: (await import("./pages/labelling/WorkPage")).WorkPage }),
  },
  {
    path: "playground/:id?",
    lazy: async () => ({
      Component: (await import("./pages/playground/PlaygroundPage")).PlaygroundPage,
    }),
  },
  {
    path: "points",
    lazy: async () => ({ Component: (await import("./pages/points/PointsPage")).PointsPage }),
  },
  {
    path: "profile",
    lazy: async () => ({ Component: (await import("./pages/profile/ProfilePage")).ProfilePage }),
  },
  {
    path: "drive",
    lazy: async () => ({ Component: (await import("./pages/drive/DrivePage")).DrivePage }),
  },
  {
    path: "imports",
    lazy: async () => ({ Component: (await import("./pages/imports/ImportsPage")).ImportsPage }),
  },
  {
    path: "organizations",
    lazy: async () => ({
      Component: (await import("./pages/organizations/OrganizationsPage")).OrganizationsPage,
    }),
  },
  {
    path: "organizations/:name",
    lazy: async () => ({
      Component: (await import("./pages/organizations/OrganizationPage")).OrganizationPage,
    }),
  },
  {
    path: "users",
    lazy: async () => ({ Component: (await import("./pages/admin/UsersPage")).UsersPage }),
  },
  {
    path: "nodes",
    lazy: async () => ({ Component: (await import("./pages/admin/NodesPage")).NodesPage }),
  },
  {
    path: "images",
    lazy: async () => ({ Component: (await import("./pages/admin/ImagesPage")).ImagesPage }),
  },
  {
    path: "deployments",
    lazy: async () => ({
      Component: (await import("./pages/serving/DeploymentsPage")).DeploymentsPage,
    }),
  },
  { path: "*", Component: NotFoundPage },
];

export const router = createBrowserRouter([
  {
    path: "/sign-in",
    lazy: async () => ({ Component: (await import("./pages/signin/SignInPage")).SignInPage }),
    ErrorBoundary: PageFault,
    HydrateFallback: PageSkeleton,
  },
  {
    path: "/shared/:token",
    lazy: async () => ({ Component: (await import("./pages/drive/SharedPage")).SharedPage }),
    ErrorBoundary: PageFault,
    HydrateFallback: PageSkeleton,
  },
  {
    path: "/",
    // Who signs in first needs none of it.
    lazy: async () => ({ Component: (await import("./pages/shell/Shell")).Shell }),
    ErrorBoundary: PageFault,
    HydrateFallback: PageSkeleton,
    children: [{ ErrorBoundary: PageFault, children: pages }],
  },
]);
