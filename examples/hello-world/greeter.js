// The app that is called: plain Node, no SDK, no packages.
const http = require("node:http");

const port = Number(process.env.APP_PORT || 5001);

const server = http.createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    const caller = request.headers["dapr-caller-app-id"] || "somebody";
    const name = body || "world";
    console.log(`greeter: ${request.method} ${request.url} from ${caller}`);
    response.setHeader("content-type", "text/plain");
    response.end(`Hello ${name}, says Node to ${caller}`);
  });
});

server.listen(port, "127.0.0.1", () => console.log(`greeter: listening on ${port}`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
